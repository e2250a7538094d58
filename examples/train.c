/* Trains a digit classifier with a training step that nin compiled, from C.
 *
 *     nin init models/digits.nin -o digits.safetensors
 *     nin compile models/digits.nin -o digits --train
 *     gunzip -k nin-runtime/data/mnist-10k/train-*.gz
 *     cc -O2 -I. examples/train.c digits.o -o train
 *     ./train digits.safetensors nin-runtime/data/mnist-10k/train-images-idx3-ubyte \
 *         nin-runtime/data/mnist-10k/train-labels-idx1-ubyte 500
 *     nin eval models/digits.nin --weights digits.safetensors --data mnist-10k
 *
 * The weights are read from the file, taken so many steps of DIGITS_BATCH images along, and written back. Images and labels
 * are in the form of MNIST, whose own files do as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits.h"

/* Mean and deviation of the pixels, as `nin data mnist-10k` tells them. */
static const float mean = 0.1330f, deviation = 0.3110f;

static const char *const names[] = DIGITS_TENSOR_NAMES;
static const size_t floats[] = DIGITS_TENSOR_FLOATS;

/* The training, and memory that one call works in. */
static float state[DIGITS_STATE_BYTES / sizeof(float)], workspace[DIGITS_WORKSPACE_BYTES / sizeof(float)];

static void fail(const char *file, const char *what)
{
    fprintf(stderr, "%s: %s\n", file, what);
    exit(1);
}

/* A whole file, with a zero behind it. */
static char *read_file(const char *file, size_t *size)
{
    FILE *stream = fopen(file, "rb");
    if (stream == NULL || fseek(stream, 0, SEEK_END) != 0)
        fail(file, "cannot be read");
    *size = (size_t)ftell(stream);
    char *bytes = malloc(*size + 1);
    rewind(stream);
    if (bytes == NULL || fread(bytes, 1, *size, stream) != *size)
        fail(file, "cannot be read");
    fclose(stream);
    bytes[*size] = '\0';
    return bytes;
}

/* Where a tensor lies in a safetensors file: 8 bytes with the length of a header in JSON, the header, numbers. */
static float *find(char *bytes, size_t size, const char *file, size_t tensor)
{
    char key[256];
    uint64_t header;
    unsigned long long begin = 0, end = 0;
    if (size < 8)
        fail(file, "is no safetensors file");
    memcpy(&header, bytes, 8);
    snprintf(key, sizeof key, "\"%s\":", names[tensor]);
    const char *at = strstr(bytes + 8, key);
    at = at == NULL || header > size ? NULL : strstr(at, "\"data_offsets\":[");
    if (at == NULL || sscanf(at, "\"data_offsets\":[%llu,%llu]", &begin, &end) != 2
        || end - begin != floats[tensor] * sizeof(float) || end > size || 8 + header + end > size)
        fail(file, "has not the tensors of the model");
    return (float *)(bytes + 8 + header + begin);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s WEIGHTS.safetensors IMAGES-idx3-ubyte LABELS-idx1-ubyte STEPS\n", argv[0]);
        return 2;
    }
    if (!digits_supported())
        fail(argv[0], "this CPU lacks the instructions that the model was compiled to");
    size_t size, image_bytes, label_bytes;
    char *weights = read_file(argv[1], &size);
    const unsigned char *pixels = (unsigned char *)read_file(argv[2], &image_bytes) + 16;
    const unsigned char *classes = (unsigned char *)read_file(argv[3], &label_bytes) + 8;
    const size_t count = label_bytes - 8;
    if (image_bytes != 16 + count * DIGITS_IMAGE || count < DIGITS_BATCH)
        fail(argv[2], "other images than the model's, or too few");

    float *tensors[DIGITS_TENSORS];
    struct digits_rates rates[DIGITS_TENSORS];
    for (size_t i = 0; i < DIGITS_TENSORS; i++) {
        const int is_bias = strstr(names[i], ".bias") != NULL, is_last = i + 2 >= DIGITS_TENSORS;
        tensors[i] = find(weights, size, argv[1], i);
        /* The outputs learn slowly: one whose ReLU lets nothing through any more learns no more. */
        rates[i].rate = is_last ? 0.005f : 0.05f;
        rates[i].momentum = 0.9f;
        rates[i].decay = is_bias ? 0 : 1e-4f;
    }
    digits_load(state, (const float *const *)tensors, NULL, workspace);

    const unsigned long steps = strtoul(argv[4], NULL, 10), told = steps < 10 ? 1 : steps / 10;
    double loss = 0;
    size_t right = 0;
    for (unsigned long step = 0; step < steps; step++) {
        static float images[DIGITS_BATCH * DIGITS_IMAGE], losses[DIGITS_BATCH];
        uint32_t labels[DIGITS_BATCH], correct[DIGITS_BATCH];
        const size_t first = step * DIGITS_BATCH % (count - DIGITS_BATCH + 1);
        for (size_t i = 0; i < DIGITS_BATCH; i++)
            labels[i] = classes[first + i];
        for (size_t i = 0; i < DIGITS_BATCH * DIGITS_IMAGE; i++)
            images[i] = (pixels[first * DIGITS_IMAGE + i] / 255.0f - mean) / deviation;
        const struct digits_settings settings = {.rates = rates, .seed = 1, .step = step, .clip = 3};
        if (digits_step(state, images, labels, DIGITS_BATCH, &settings, losses, correct, workspace) != 0)
            fail(argv[3], "has labels that are no digits");
        for (size_t i = 0; i < DIGITS_BATCH; i++) {
            loss += losses[i];
            right += correct[i];
        }
        if ((step + 1) % told == 0) {
            const double seen = (double)told * DIGITS_BATCH;
            printf("step %lu: loss %.4f, %.1f %% right\n", step + 1, loss / seen, 100 * (double)right / seen);
            loss = 0;
            right = 0;
        }
    }

    digits_save(state, tensors, NULL);
    FILE *file = fopen(argv[1], "wb");
    if (file == NULL || fwrite(weights, 1, size, file) != size || fclose(file) != 0)
        fail(argv[1], "cannot be written");
    return 0;
}
