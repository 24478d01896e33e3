// What the pipeline's tests share: files for a test, gzip files in any state, and the place of the
// captures.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::pipeline::test {

/// A folder of the running test's own, removed with it.
class Folder {
 public:
    Folder() {
        std::string name =
            (std::filesystem::temp_directory_path() / "sluice-pipeline-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("mkdtemp " + name);
        }
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::string operator/(std::string_view name) const {
        return (path_ / name).string();
    }

 private:
    std::filesystem::path path_;
};

inline void write_gzip(const std::string& path, std::string_view text) {
    gzFile file = gzopen(path.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
              static_cast<int>(text.size()));
    ASSERT_EQ(gzclose(file), Z_OK);
}

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

inline std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

/// The folder with the captures: $SLUICE_DATA, else where the build was told to look.
inline std::filesystem::path data_folder() {
    const char* named = std::getenv("SLUICE_DATA");
    return named != nullptr ? named : SLUICE_DATA_DEFAULT;
}

inline constexpr const char* kSpot = "binance_spot_btcusdt_20240808.gz";
inline constexpr const char* kUsdm = "binance_usdm_btcusdt_20240808.gz";

/// Use as: if (!have_captures()) GTEST_SKIP() << kNoCaptures;
inline bool have_captures() {
    return std::filesystem::exists(data_folder() / kSpot) &&
           std::filesystem::exists(data_folder() / kUsdm);
}
inline constexpr const char* kNoCaptures =
    "the captures are absent; SLUICE_DATA names the folder that has them";

}  // namespace sluice::pipeline::test
