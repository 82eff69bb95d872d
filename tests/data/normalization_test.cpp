#include "data/normalization.h"

#include <numeric>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;

// Random records of two leads with a scale and offset of their own each; lead B is constant where asked for.
Dataset random_records(size_t records, int length, bool constant_b = false) {
  Dataset d;
  d.name = "test";
  d.length = length;
  d.sampling_rate_hz = 100;
  d.leads = {"A", "B"};
  d.unit = "mV";
  const std::vector<float> noise = test::random_normal(records * static_cast<size_t>(length) * 2, 1, 1000);
  for (size_t i = 0; i < noise.size(); ++i)
    d.samples.push_back(constant_b && i % 2 ? int16_t{100} : static_cast<int16_t>(noise[i]));
  for (size_t r = 0; r < records; ++r) {
    d.record_id.push_back(static_cast<int64_t>(r));
    d.scale.insert(d.scale.end(), {0.001f * static_cast<float>(r + 1), 0.001f});
    d.offset.insert(d.offset.end(), {5.0f + static_cast<float>(r), 0.0f});
  }
  return d;
}

TEST_CASE("normalisation: mean and deviation are those of all samples in the unit of the data set") {
  const Dataset d = random_records(7, 50);
  const std::vector<size_t> records = {1, 2, 4, 6};
  const Normalization n = measure_normalization(d, records);
  for (size_t lead = 0; lead < 2; ++lead) {
    std::vector<double> values;
    for (const size_t r : records)
      for (size_t l = 0; l < 50; ++l)
        values.push_back(d.record(r)[l * 2 + lead] * static_cast<double>(d.scale[r * 2 + lead]) +
                         d.offset[r * 2 + lead]);
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 200;
    double squares = 0;
    for (const double v : values) squares += (v - mean) * (v - mean);
    CHECK(n.mean[lead] == doctest::Approx(mean).epsilon(1e-6));
    CHECK(n.std[lead] == doctest::Approx(std::sqrt(squares / 200)).epsilon(1e-6));
  }
  CHECK(n.leads == d.leads);
  CHECK(n.unit == "mV");
  CHECK(n.length == 50);
  CHECK(n.sampling_rate_hz == 100);
}

TEST_CASE("normalisation: a constant lead has deviation 1") {
  const Normalization n = measure_normalization(random_records(7, 50, true), {0, 1, 2});
  CHECK(n.mean[1] == doctest::Approx(0.1));
  CHECK(n.std[1] == 1.0f);
}

TEST_CASE("normalisation: the same bits for any number of threads") {
  const Dataset d = random_records(40, 30);
  std::vector<size_t> records(40);
  std::iota(records.begin(), records.end(), size_t{0});
  set_threads(1);
  const Normalization one = measure_normalization(d, records);
  set_threads(5);
  const Normalization five = measure_normalization(d, records);
  set_threads(0);
  CHECK(one == five);
}

TEST_CASE("normalisation: JSON brings back every bit") {
  const Normalization n = measure_normalization(random_records(7, 50), {0, 3, 5});
  CHECK(normalization_from_json(to_json(n), "x.pt") == n);
}

TEST_CASE("normalisation: what is not a normalisation is refused with its source") {
  const auto refused = [](const std::string& text) {
    return sentence_of<Error>([&] { normalization_from_json(text, "x.pt"); });
  };
  CHECK(refused("{").find("The normalisation in x.pt cannot be read: ") == 0);
  CHECK(refused("{}").find("The normalisation in x.pt cannot be read: ") == 0);
  CHECK(refused(R"({"leads":["I"],"mean":"x","std":[1],"unit":"mV","sampling_rate_hz":100,"length":9})")
            .find("The normalisation in x.pt cannot be read: ") == 0);
  for (const char* length : {"1e300", "4294967297", "9.0", "\"9\""})  // what an int cannot hold must not become one
    CHECK(
        refused(fmt::format(R"({{"leads":["I"],"mean":[0],"std":[1],"unit":"mV","sampling_rate_hz":100,"length":{}}})",
                            length))
            .find("cannot be read: its length ") != std::string::npos);
  CHECK(refused(R"({"leads":["I","II"],"mean":[0],"std":[1,1],"unit":"mV","sampling_rate_hz":100,"length":9})") ==
        "The normalisation in x.pt has 2 leads, 1 means and 2 standard deviations; one of each per lead was expected.");
  CHECK(refused(R"({"leads":["I"],"mean":[0.5],"std":[0],"unit":"mV","sampling_rate_hz":100,"length":9})") ==
        "The normalisation in x.pt has mean 0.5 and standard deviation 0 for lead I; a finite mean and a standard "
        "deviation "
        "above 0 were expected.");
  CHECK(sentence_of<Error>([] { measure_normalization(random_records(2, 3), {}); }) ==
        "There are no records to measure the normalisation of the leads on.");
}

TEST_CASE("normalisation: another data set than the model's is refused with the difference") {
  const Dataset d = random_records(2, 3);
  const Normalization n = measure_normalization(d, {0, 1});
  CHECK_NOTHROW(check_matches(n, d));
  const auto refused = [&](const auto& change) {
    Dataset other = d;
    change(other);
    return sentence_of<Error>([&] { check_matches(n, other); });
  };
  CHECK(refused([](Dataset& o) {
          o.leads = {"B", "A"};
        }) == "The model was trained with the leads A, B, but the data set test has B, A.");
  CHECK(refused([](Dataset& o) { o.sampling_rate_hz = 500; }) ==
        "The model was trained with a sampling rate of 100 Hz, but the data set test has 500 Hz.");
  CHECK(refused([](Dataset& o) { o.unit = "NU"; }) ==
        "The model was trained with the unit mV, but the data set test has NU.");
  CHECK(refused([](Dataset& o) { o.length = 4; }) ==
        "The model was trained with records of 3 samples, but the data set test has 4 samples.");
}

// Takes a lead from a record, as a loader leaves it.
void remove_lead(Dataset& d, size_t r, size_t lead) {
  for (size_t l = 0; l < static_cast<size_t>(d.length); ++l)
    d.samples[(r * static_cast<size_t>(d.length) + l) * d.lead_count() + lead] = 0;
  d.scale[r * d.lead_count() + lead] = d.offset[r * d.lead_count() + lead] = 0;
}

TEST_CASE("normalisation: a lead is measured on the records that have it, and one that none has is left at zero") {
  Dataset d = random_records(7, 50);
  for (const size_t r : {1u, 4u}) remove_lead(d, r, 1);
  const Normalization n = measure_normalization(d, {0, 1, 4, 6}), of_others = measure_normalization(d, {0, 6});
  CHECK(n.mean[1] == of_others.mean[1]);
  CHECK(n.std[1] == of_others.std[1]);
  CHECK(n.std[0] != of_others.std[0]);
  const Normalization none = measure_normalization(d, {1, 4});
  CHECK(none.mean[1] == 0);
  CHECK(none.std[1] == 1);
}

TEST_CASE("normalisation: a network keeps its own where it can, and is measured anew where it cannot") {
  Dataset d = random_records(7, 50);
  const Normalization own = measure_normalization(d, {5, 6});
  const std::vector<size_t> training = {0, 1, 2};
  CHECK(adapt_normalization(own, d, training).normalization == own);
  CHECK(adapt_normalization(own, d, training).reason.empty());

  Normalization longer = own;
  longer.length = 80;
  CHECK(adapt_normalization(longer, d, training).normalization == own);
  CHECK(adapt_normalization(longer, d, training).reason ==
        "The encoder was trained with records of 80 samples; those of test have 50.");

  Normalization other_unit = own;
  other_unit.unit = "NU";
  CHECK(adapt_normalization(other_unit, d, training).normalization == measure_normalization(d, training));
  CHECK(adapt_normalization(other_unit, d, training).reason ==
        "The normalisation was measured on the training records of test: they are in mV, the encoder's were in NU.");

  Normalization other_rate = own;
  other_rate.sampling_rate_hz = 500;
  CHECK(sentence_of<Error>([&] { adapt_normalization(other_rate, d, training); }) ==
        "The model was trained with a sampling rate of 500 Hz, but the data set test has 100 Hz.");
  Normalization other_leads = own;
  other_leads.leads = {"A", "C"};
  CHECK(sentence_of<Error>([&] { adapt_normalization(other_leads, d, training); }) ==
        "The model was trained with the leads A, C, but the data set test has A, B.");

  remove_lead(d, 2, 0);
  CHECK(adapt_normalization(own, d, training).normalization == measure_normalization(d, training));
  CHECK(adapt_normalization(own, d, training).reason ==
        "The normalisation was measured on the training records of test: they lack some of the leads.");
  Normalization of_such_records = own;  // whose lead B none had
  of_such_records.mean[1] = 0;
  of_such_records.std[1] = 1;
  CHECK(adapt_normalization(of_such_records, d, training).normalization == of_such_records);
}

}  // namespace
}  // namespace systole::data
