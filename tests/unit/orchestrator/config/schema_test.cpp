// configs/cluster.schema.json says for editors what the loader's table of keys says for the loader:
// every key with its type, bounds, choices, default, unit and sentence. Here the two are compared.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "orchestrator/config/keys.hpp"
#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* duration_pattern = "^(0|[1-9][0-9]*)(h|m|s|ms)$";
constexpr const char* size_pattern = "^(auto|(0|[1-9][0-9]*)(B|KiB|MiB|GiB|k|M|G))$";

Json later_values(const Key& key) {
  Json values = Json::array();
  for (const std::string& value : choices(key.later)) values.push_back(value);
  if (key.later_max > 0)
    values.push_back(std::to_string(key.max + 1) + " to " + std::to_string(key.later_max));
  return values;
}

Json initial_value(const Key& key) {
  if (key.kind == Kind::integer || key.kind == Kind::tunnels)
    return parse_whole(key.initial).value.value();
  if (key.kind == Kind::boolean) return key.initial == "true";
  if (key.kind == Kind::subnets || key.kind == Kind::command) return Json::array();
  return std::string(key.initial);
}

Json list_of(const Key& key, Json items) {
  return {
      {"type", "array"}, {"minItems", key.min}, {"maxItems", key.max}, {"items", std::move(items)}};
}

/// The part of a fragment that depends on the kind of value. What stands below a key is left out:
/// `{}` where a child belongs.
Json shape(const Key& key) {
  const Json text = {{"type", "string"}};
  const Json whole = {{"type", "integer"}, {"minimum", key.min}, {"maximum", key.max}};
  const Json name = {{"type", "string"}, {"pattern", key.pattern}};
  switch (key.kind) {
    case Kind::section:
      return {{"type", "object"}, {"additionalProperties", false}};
    case Kind::named:
      return {{"type", "object"},
              {"additionalProperties", false},
              {"minProperties", key.min},
              {"maxProperties", key.max},
              {"patternProperties", {{key.pattern, Json::object()}}}};
    case Kind::settings:
      return {{"type", "object"},
              {"maxProperties", key.max},
              {"propertyNames", {{"pattern", key.pattern}}},
              {"additionalProperties", {{"type", {"string", "number"}}}}};
    case Kind::integer:
      return whole;
    case Kind::boolean:
      return {{"type", "boolean"}};
    case Kind::choice:
      return {{"type", "string"}, {"enum", choices(key.values)}};
    case Kind::text:
      return name;
    case Kind::duration:
      return {{"type", "string"},
              {"pattern", duration_pattern},
              {"x-minimum", duration_text(key.min)},
              {"x-maximum", duration_text(key.max)},
              {"x-unit", "h, m, s or ms"}};
    case Kind::size:
      return {{"type", "string"},
              {"pattern", size_pattern},
              {"x-minimum", size_text(key.min)},
              {"x-maximum", size_text(key.max)},
              {"x-unit", "B, KiB, MiB, GiB, or k, M, G for powers of 1000"}};
    case Kind::prefix:
      return {{"type", "string"},
              {"x-minimum", "/" + std::to_string(key.min)},
              {"x-maximum", "/" + std::to_string(key.max)}};
    case Kind::addresses:
      return {{"oneOf", {text, list_of(key, text)}}};
    case Kind::inner:
    case Kind::subnets:
      return list_of(key, text);
    case Kind::command:
      return list_of(key, text);
    case Kind::names: {
      Json names = list_of(key, name);
      names["uniqueItems"] = true;
      return names;
    }
    case Kind::tunnels:
      return {{"oneOf", {whole, list_of(key, Json::object())}}};
  }
  return {};
}

/// What the schema must say at the key, without what stands below it.
Json fragment_of(const Key& key) {
  Json fragment = {{"description", std::string(key.sentence)}};
  fragment.update(shape(key));
  if (!key.unit.empty()) fragment["x-unit"] = key.unit;
  if (!key.initial.empty()) fragment["default"] = initial_value(key);
  if (const Json values = later_values(key); !values.empty())
    fragment["x-not-supported-yet"] = values;
  return fragment;
}

std::set<std::string> required_below(std::string_view section) {
  std::set<std::string> names;
  for (const Key* key : keys_of(section))
    if (key->required) names.emplace(key->name());
  return names;
}

/// Takes the schema apart: path of a key → its fragment without what stands below it.
class Walk {
 public:
  explicit Walk(const Json& schema) { section("", schema); }

  std::map<std::string, Json> fragments;
  std::map<std::string, std::set<std::string>> required;  // of each section

 private:
  void section(const std::string& path, const Json& schema) {
    required[path] = schema.value("required", std::set<std::string>());
    for (const auto& [name, below] : schema.at("properties").items())
      key(path.empty() ? name : path + "/" + name, below);
  }

  void key(const std::string& path, const Json& schema) {
    Json own = schema;
    own.erase("properties");
    own.erase("required");
    if (schema.contains("properties")) section(path, schema);
    if (own.contains("patternProperties"))
      for (auto& [pattern, below] : own["patternProperties"].items()) take_out(path, below);
    if (own.contains("oneOf") && own["oneOf"][1]["items"].contains("properties"))
      take_out(path, own["oneOf"][1]["items"]);
    fragments[path] = std::move(own);
  }

  void take_out(const std::string& path, Json& below) {
    key(path + "/*", below);
    below = Json::object();
  }
};

Json load_schema() {
  std::ifstream file(TUNORCH_SOURCE_DIR "/configs/cluster.schema.json");
  return Json::parse(file);
}

// Unlike Json, compares objects regardless of the order of their members.
nlohmann::json unordered(const Json& value) {
  return nlohmann::json::parse(value.dump());
}

TEST(Schema, SaysOfEveryKeyWhatTheLoaderSays) {
  const Walk walk(load_schema());
  for (const Key& key : all_keys()) {
    const auto found = walk.fragments.find(std::string(key.path));
    const Json expected = fragment_of(key);
    if (found == walk.fragments.end())
      ADD_FAILURE() << key.path << " is not in the schema; it would be\n" << expected.dump(2);
    else
      EXPECT_EQ(unordered(found->second), unordered(expected)) << key.path << " would be\n"
                                                               << expected.dump(2);
  }
}

TEST(Schema, HasNoKeyThatTheLoaderDoesNotKnow) {
  std::set<std::string> known;
  for (const Key& key : all_keys()) known.emplace(key.path);
  for (const auto& [path, fragment] : Walk(load_schema()).fragments)
    EXPECT_TRUE(known.contains(path)) << path;
}

TEST(Schema, RequiresTheSameKeys) {
  for (const auto& [section, required] : Walk(load_schema()).required)
    EXPECT_EQ(required, required_below(section)) << "in '" << section << "'";
}

TEST(Schema, TakesNoOtherKeysAtTheTop) {
  const Json schema = load_schema();
  EXPECT_EQ(schema.at("$schema"), "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema.at("additionalProperties"), false);
}

TEST(KeyTable, HasEachPathOnce) {
  std::set<std::string_view> seen;
  for (const Key& key : all_keys()) EXPECT_TRUE(seen.insert(key.path).second) << key.path;
}

TEST(KeyTable, SaysWhatHoldsWithoutTheKey) {
  const std::set<Kind> without_default = {Kind::section, Kind::settings};
  for (const Key& key : all_keys()) {
    EXPECT_FALSE(key.sentence.empty()) << key.path;
    if (key.required || !key.initial.empty() || without_default.contains(key.kind)) continue;
    EXPECT_NE(key.sentence.find("unless given"), key.sentence.npos) << key.path;
  }
}

TEST(KeyTable, HasDefaultsWithinTheirBounds) {
  for (const Key& key : all_keys()) {
    if (key.initial.empty() || key.initial == "auto") continue;
    Amount amount{key.min, ""};
    if (key.kind == Kind::integer || key.kind == Kind::tunnels) amount = parse_whole(key.initial);
    if (key.kind == Kind::duration) amount = parse_duration(key.initial);
    ASSERT_TRUE(amount.value.has_value()) << key.path;
    EXPECT_GE(*amount.value, key.min) << key.path;
    EXPECT_LE(*amount.value, key.max) << key.path;
  }
}

}  // namespace
}  // namespace tunorch
