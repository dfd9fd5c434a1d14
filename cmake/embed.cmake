# Script: writes ${OUT}.c and ${OUT}.h with the bytes of file ${IN} as array ${NAME}.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
get_filename_component(header ${OUT}.h NAME)
file(WRITE ${OUT}.c "#include \"${header}\"\n\nconst unsigned char ${NAME}[] = {\n${hex}\n};\nconst size_t ${NAME}_len = sizeof(${NAME});\n")
file(WRITE ${OUT}.h "#include <stddef.h>\n\nextern const unsigned char ${NAME}[];\nextern const size_t ${NAME}_len;\n")
