#include "models/dual_stream.h"

#include <fmt/format.h>
#include <set>

namespace systole::models {
namespace {

using LeadGroups = std::vector<std::vector<int>>;

LeadGroups published_groups(int leads) {
  if (leads == 8) return {{0, 1, 6, 7}, {2, 3, 4, 5}};
  if (leads == 12) return {{0, 1, 10, 11}, {6, 7, 8, 9}};
  throw Error(fmt::format("{}: the published lead groups are those of records with 8 or 12 leads, not {}; name others",
                          DualStream::kName, leads));
}

LeadGroups groups_of(const EncoderOptions& o) {
  LeadGroups groups = o.lead_groups.empty() ? published_groups(o.leads) : o.lead_groups;
  if (groups.size() != 2 || groups[0].empty() || groups[1].empty())
    throw Error(fmt::format("{}: expected two lead groups, each of at least one lead", DualStream::kName));
  std::set<int> seen;
  for (const std::vector<int>& group : groups)
    for (const int lead : group) {
      if (lead < 0 || lead >= o.leads)
        throw Error(fmt::format("{}: a lead group has the lead {}; records of {} leads have 0 to {}", DualStream::kName,
                                lead, o.leads, o.leads - 1));
      if (!seen.insert(lead).second)
        throw Error(fmt::format("{}: the lead {} is twice in the lead groups", DualStream::kName, lead));
    }
  return groups;
}

EncoderOptions stream_options(const EncoderOptions& o) {
  return {.leads = 1, .width = o.width, .name = TemporalNet::kName};
}

}  // namespace

DualStream::DualStream(ParameterStore& store, const std::string& prefix, const EncoderOptions& options)
    : Encoder(options),
      first_(store, prefix + "model_g1.", stream_options(options)),
      second_(store, prefix + "model_g2.", stream_options(options), TemporalNet::kDropouts) {
  options_.lead_groups = groups_of(options);
}

std::vector<EncoderLayer> DualStream::layers(const EncoderOptions& options, int length) {
  std::vector<EncoderLayer> rows;
  int stream = 0;
  for (const std::vector<int>& group : groups_of(options)) {
    ++stream;
    for (EncoderLayer row : TemporalNet::layers(stream_options(options), length)) {
      row.name = fmt::format("model_g{}.{}", stream, row.name);
      row.series = static_cast<int>(group.size());
      rows.push_back(row);
    }
  }
  return rows;
}

Tensor DualStream::stream_latents(const TemporalNet& stream, const std::vector<int>& leads, const Tensor& x,
                                  Mode mode) const {
  const Tensor latents = stream.series_latents(split_leads(x, leads, mode.groups), mode);
  return mean_over_leads(latents, static_cast<int>(leads.size()), mode.groups);
}

Tensor DualStream::slot_latents(const Tensor& x, Mode mode) {
  return join_slots(stream_latents(first_, options_.lead_groups[0], x, mode),
                    stream_latents(second_, options_.lead_groups[1], x, mode), mode.groups);
}

}  // namespace systole::models
