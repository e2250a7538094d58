// Classifies digits with a model that nin compiled, from C++, on several threads that share its code and weights.
//
//     nin compile models/digits.nin -o digits --emit staticlib,header --isa dispatch --weights runs/digits/last.safetensors
//     c++ -std=c++17 -pthread -I. examples/classify.cpp digits.a -o classify
//     ./classify examples/seven.raw examples/seven.raw
//
// A file holds an image of 28 x 28 bytes, row by row.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "digits.h"

namespace {

/// What one thread needs to classify images.
class Classifier {
public:
    struct Answer {
        const char *name;
        float probability;
    };

    Classifier() : workspace(DIGITS_WORKSPACE_BYTES / sizeof(float)) {}

    Answer classify(const std::array<std::uint8_t, DIGITS_IMAGE> &bytes)
    {
        std::array<float, DIGITS_IMAGE> image;
        std::array<float, DIGITS_OUTPUT> probabilities;
        digits_normalise(bytes.data(), image.data());
        digits_forward(image.data(), probabilities.data(), 1, workspace.data());
        const auto best = std::max_element(probabilities.begin(), probabilities.end());
        return {digits_class_name(static_cast<std::size_t>(best - probabilities.begin())), *best};
    }

private:
    std::vector<float> workspace;
};

std::array<std::uint8_t, DIGITS_IMAGE> read(const std::string &file)
{
    std::array<std::uint8_t, DIGITS_IMAGE> bytes;
    std::ifstream stream(file, std::ios::binary);
    if (!stream.read(reinterpret_cast<char *>(bytes.data()), bytes.size()))
        throw std::runtime_error(file + ": not an image of " + std::to_string(DIGITS_IMAGE) + " bytes");
    return bytes;
}

}  // namespace

int main(int argc, char **argv)
try {
    if (!digits_supported())
        throw std::runtime_error("this CPU lacks the instructions that the model was compiled to");
    const std::vector<std::string> files(argv + 1, argv + argc);
    std::vector<std::array<std::uint8_t, DIGITS_IMAGE>> images;
    for (const std::string &file : files)
        images.push_back(read(file));
    std::vector<Classifier::Answer> answers(files.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < files.size(); i++)
        threads.emplace_back([&, i] { answers[i] = Classifier().classify(images[i]); });
    for (std::thread &thread : threads)
        thread.join();
    for (std::size_t i = 0; i < files.size(); i++)
        std::printf("%s: %s %.1f %%\n", files[i].c_str(), answers[i].name, 100 * answers[i].probability);
} catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
