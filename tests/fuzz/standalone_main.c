/* standalone_main.c - runs a fuzz target over files and folders: its corpus as a plain test. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_INPUT_BYTES ((long)16 << 20)

static unsigned inputs;

/* The bytes lie in memory of their own length, so that a sanitizer sees a read past them. */
static int run_file(const char *path)
{
	FILE *f = fopen(path, "rbe");
	long n = -1;

	if (f && fseek(f, 0, SEEK_END) == 0)
		n = ftell(f);
	if (n < 0 || n > MAX_INPUT_BYTES) {
		perror(path);
		return 1;
	}
	uint8_t *bytes = malloc((size_t)n + (n == 0));
	rewind(f);
	int failed = !bytes || fread(bytes, 1, (size_t)n, f) != (size_t)n;
	fclose(f);
	if (failed) {
		perror(path);
	} else {
		LLVMFuzzerTestOneInput(bytes, (size_t)n);
		inputs++;
	}
	free(bytes);
	return failed;
}

static int run_folder(const char *path)
{
	DIR *d = opendir(path);
	char file[1024];
	int failed = 0;

	if (!d) {
		perror(path);
		return 1;
	}
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		failed |= run_file(file);
	}
	closedir(d);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			failed |= run_folder(argv[i]);
		else
			failed |= run_file(argv[i]);
	}
	printf("%u inputs\n", inputs);
	return failed || inputs == 0;
}
