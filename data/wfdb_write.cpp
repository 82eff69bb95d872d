// Writes a WFDB record in format 16, laid out as PTB-XL's own files.

#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <string_view>

#include "data/wfdb.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

/// Throws Error when a text that goes into the header would break its lines or fields.
void check_text(const std::filesystem::path& record, std::string_view what, std::string_view text,
                std::string_view forbidden) {
  if (text.find_first_of(forbidden) != std::string_view::npos || (text.empty() && what != "comment"))
    throw Error(fmt::format("The WFDB record {} cannot be written: the {} is \"{}\", expected {}.", record.string(),
                            what, text, forbidden.size() > 2 ? "one word" : "one line of text"));
}

/// A number with a decimal point, the way PTB-XL writes its gains.
std::string decimal(double value) {
  const std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

void write_file(const std::filesystem::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) throw Error(fmt::format("The file {} cannot be written.", path.string()));
}

uint16_t checksum(const std::vector<int16_t>& samples, size_t lead, size_t leads) {
  uint16_t sum = 0;
  for (size_t i = lead; i < samples.size(); i += leads) sum = static_cast<uint16_t>(sum + samples[i]);
  return sum;
}

std::string little_endian(const std::vector<int16_t>& samples) {
  std::string bytes(2 * samples.size(), '\0');
  for (size_t i = 0; i < samples.size(); ++i) {
    bytes[2 * i] = static_cast<char>(samples[i] & 0xFF);
    bytes[2 * i + 1] = static_cast<char>(samples[i] >> 8);
  }
  return bytes;
}

}  // namespace

void write_wfdb16(const std::filesystem::path& record, double sampling_rate_hz, const std::vector<std::string>& leads,
                  double gain, const std::string& unit, int baseline, const std::vector<int16_t>& samples,
                  const std::vector<std::string>& comments) {
  const std::string name = record.filename().string();
  check_text(record, "name", name, " \t\r\n/#");
  check_text(record, "unit", unit, " \t\r\n");
  for (const std::string& lead : leads) check_text(record, "name of a lead", lead, "\r\n");
  for (const std::string& comment : comments) check_text(record, "comment", comment, "\r\n");
  if (samples.empty() || leads.empty() || samples.size() % leads.size() != 0)
    throw Error(fmt::format("The WFDB record {} cannot be written: {} samples do not fill {} leads.", record.string(),
                            samples.size(), leads.size()));
  if (!(sampling_rate_hz > 0 && gain > 0 && std::isfinite(sampling_rate_hz) && std::isfinite(gain)))
    throw Error(fmt::format("The WFDB record {} cannot be written: sampling rate {} and gain {} must be above 0.",
                            record.string(), sampling_rate_hz, gain));

  std::string header =
      fmt::format("{} {} {} {}\n", name, leads.size(), sampling_rate_hz, samples.size() / leads.size());
  for (size_t s = 0; s < leads.size(); ++s)
    header += fmt::format("{}.dat 16 {}({})/{} 16 0 {} {} 0 {}\n", name, decimal(gain), baseline, unit, samples[s],
                          checksum(samples, s, leads.size()), leads[s]);
  for (const std::string& comment : comments) header += fmt::format("# {}\n", comment);

  if (record.has_parent_path()) std::filesystem::create_directories(record.parent_path());
  write_file(record.string() + ".dat", little_endian(samples));
  write_file(record.string() + ".hea", header);
}

}  // namespace systole::data
