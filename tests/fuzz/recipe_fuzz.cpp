// A recipe of augmentations. What is read can be written and read again.

#include "augment/recipe.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const std::string text = to_json(augment::recipe_from_json(std::string(fuzz::text(data, size)), "recipe.json"));
    try {
      fuzz::require(to_json(augment::recipe_from_json(text, "recipe.json")) == text);
    } catch (const Error&) {
      fuzz::require(false);
    }
  });
  return 0;
}
