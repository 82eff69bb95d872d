// What systole info says of the encoders: sizes and arithmetic, as the models themselves count them.
#pragma once

#include <string>

namespace systole::tools {

/// A few lines for each encoder.
std::string encoder_list();
/// docs/encoders.md: every layer of every encoder.
std::string encoders_as_markdown();

}  // namespace systole::tools
