#include "data/lead_selection.h"

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;

// Two records of three samples and three leads, each value telling where it came from.
Dataset three_leads() {
  Dataset d;
  d.name = "test";
  d.length = 3;
  d.leads = {"I", "aVR", "V1"};
  d.record_id = {1, 2};
  for (int16_t i = 0; i < 18; ++i) d.samples.push_back(i);
  d.scale = {1, 2, 3, 4, 5, 6};
  d.offset = {10, 20, 30, 40, 50, 60};
  return d;
}

TEST_CASE("lead selection: samples, scales and offsets follow their lead, in the order asked for and in any case") {
  const Dataset d = select_leads(three_leads(), {"v1", "i"});
  CHECK(d.leads == std::vector<std::string>{"V1", "I"});
  CHECK(d.samples == std::vector<int16_t>{2, 0, 5, 3, 8, 6, 11, 9, 14, 12, 17, 15});
  CHECK(d.scale == std::vector<float>{3, 1, 6, 4});
  CHECK(d.offset == std::vector<float>{30, 10, 60, 40});
}

TEST_CASE("lead selection: a lead that is not there, or named twice, is refused") {
  CHECK(sentence_of<UsageError>([] {
          select_leads(three_leads(), {"I", "V2"});
        }) == "test has no lead 'V2'; its leads are I, aVR, V1");
  CHECK(sentence_of<UsageError>([] {
          select_leads(three_leads(), {"AVR", "I", "avr"});
        }) == "the lead aVR is named twice in AVR,I,avr");
  CHECK(!find_lead({"I", "II"}, "III"));
}

}  // namespace
}  // namespace systole::data
