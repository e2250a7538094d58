/* Classifies a digit with a model that nin compiled, from C.
 *
 *     nin train models/digits.nin --data mnist-10k --out runs/digits
 *     nin compile models/digits.nin -o digits --weights runs/digits/last.safetensors
 *     cc -I. examples/classify.c digits.o -o classify
 *     ./classify examples/seven.raw
 *
 * The file holds an image of 28 x 28 bytes, row by row. Nothing but the C library is needed; the model is in the program.
 */
#include <stdio.h>

#include "digits.h"

/* Memory that one call works in. Another thread would bring its own. */
static float workspace[DIGITS_WORKSPACE_BYTES / sizeof(float)];

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s IMAGE.raw\n", argv[0]);
        return 2;
    }
    if (!digits_supported()) {
        fprintf(stderr, "this CPU lacks the instructions that the model was compiled to\n");
        return 1;
    }
    FILE *file = fopen(argv[1], "rb");
    if (file == NULL) {
        perror(argv[1]);
        return 1;
    }
    uint8_t bytes[DIGITS_IMAGE];
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    if (count != sizeof bytes) {
        fprintf(stderr, "%s: %zu bytes, and an image has %d\n", argv[1], count, DIGITS_IMAGE);
        return 1;
    }

    float image[DIGITS_IMAGE], probabilities[DIGITS_OUTPUT];
    digits_normalise(bytes, image);
    digits_forward(image, probabilities, 1, workspace);

    size_t best = 0;
    for (size_t i = 1; i < DIGITS_OUTPUT; i++)
        if (probabilities[i] > probabilities[best])
            best = i;
    printf("%s: %s %.1f %%\n", argv[1], digits_class_name(best), 100 * probabilities[best]);
    return 0;
}
