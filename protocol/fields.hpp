// Structs of messages as JSON objects, in both directions: each described field
// (BOOST_DESCRIBE_STRUCT below its struct) is a key of its own name, those of base structs too. For
// the .cpp files of this folder alone: it is much for a compiler.
#pragma once

#include <boost/describe/enum_from_string.hpp>
#include <boost/describe/enum_to_string.hpp>
#include <boost/describe/enumerators.hpp>
#include <boost/describe/members.hpp>
#include <boost/mp11/algorithm.hpp>
#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "protocol/bad_message.hpp"
#include "protocol/or_null.hpp"

namespace tunorch {

template <class T>
using FieldsOf = boost::describe::describe_members<T, boost::describe::mod_public |
                                                          boost::describe::mod_inherited>;

/// Where in a message a value is: made into text only for an error.
struct Place {
  const Place* above = nullptr;
  std::string_view name = "";
  std::size_t index = 0;  // instead of a name

  /// "bundles/0/live"; empty: the message as a whole.
  std::string text() const;
};

template <class T>
nlohmann::json written(const T& from);
/// Fields that are missing keep the value they have, keys that are not known are ignored. Throws
/// BadMessage for a value of the wrong kind.
template <class T>
void read(const nlohmann::json& from, T& to, const Place& place = {});

/// One line of text, without its end; bytes that are no UTF-8 are replaced.
template <class T>
std::string line_of(const T& message) {
  return written(message).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

[[noreturn]] void refuse(const Place& place, const nlohmann::json& value,
                         const std::string& allowed);

namespace fields {

using nlohmann::json;

inline json value_of(const std::string& value) {
  return value;
}
template <class T>
requires std::is_arithmetic_v<T> json value_of(T value) {
  return value;
}
template <class T>
requires std::is_enum_v<T> json value_of(T value) {
  return boost::describe::enum_to_string(value, "unknown");
}
template <class T>
requires std::is_class_v<T> json value_of(const T& value) {
  return written(value);
}
template <class T>
json value_of(const std::vector<T>& values) {
  json all = json::array();
  for (const T& one : values) all.push_back(value_of(one));
  return all;
}
template <class T>
json value_of(const std::map<std::string, T>& values) {
  json all = json::object();
  for (const auto& [name, one] : values) all[name] = value_of(one);
  return all;
}

template <class T>
void put(json& to, const char* key, const T& value) {
  to[key] = value_of(value);
}
template <class T>
void put(json& to, const char* key, const std::optional<T>& value) {
  if (value) to[key] = value_of(*value);
}
template <class T>
void put(json& to, const char* key, const OrNull<T>& value) {
  to[key] = value ? value_of(*value) : json();
}

inline void take(const Place& place, const json& value, std::string& to) {
  if (!value.is_string()) refuse(place, value, "a string");
  to = value.get<std::string>();
}
inline void take(const Place& place, const json& value, bool& to) {
  if (!value.is_boolean()) refuse(place, value, "true or false");
  to = value.get<bool>();
}
inline void take(const Place& place, const json& value, double& to) {
  if (!value.is_number()) refuse(place, value, "a number");
  to = value.get<double>();
}
template <std::integral T>
void take(const Place& place, const json& value, T& to) {
  using Limits = std::numeric_limits<T>;
  const bool fits = value.is_number_unsigned()
                        ? std::in_range<T>(value.get<std::uint64_t>())
                        : value.is_number_integer() && std::in_range<T>(value.get<std::int64_t>());
  if (!fits)
    refuse(
        place, value,
        "a number from " + std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()));
  to = value.get<T>();
}
template <class T>
requires std::is_enum_v<T>
void take(const Place& place, const json& value, T& to) {
  std::string name;
  take(place, value, name);
  if (boost::describe::enum_from_string(name.c_str(), to)) return;
  std::string names;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<T>>(
      [&](auto one) { names += (names.empty() ? "" : ", ") + std::string(one.name); });
  refuse(place, value, "one of " + names);
}
template <class T>
requires std::is_class_v<T>
void take(const Place& place, const json& value, T& to) {
  read(value, to, place);
}
template <class T>
void take(const Place& place, const json& value, std::vector<T>& to) {
  if (!value.is_array()) refuse(place, value, "a list");
  to.clear();
  for (const json& one : value) {
    T element{};
    take(Place{.above = &place, .index = to.size()}, one, element);
    to.push_back(std::move(element));
  }
}
template <class T>
void take(const Place& place, const json& value, std::map<std::string, T>& to) {
  if (!value.is_object()) refuse(place, value, "an object");
  to.clear();
  for (const auto& [name, one] : value.items()) take(Place{&place, name}, one, to[name]);
}
template <class T>
void take(const Place& place, const json& value, std::optional<T>& to) {
  to.reset();
  if (!value.is_null()) take(place, value, to.emplace());
}
template <class T>
void take(const Place& place, const json& value, OrNull<T>& to) {
  take(place, value, static_cast<std::optional<T>&>(to));
}

}  // namespace fields

template <class T>
nlohmann::json written(const T& from) {
  nlohmann::json to = nlohmann::json::object();
  boost::mp11::mp_for_each<FieldsOf<T>>(
      [&](auto field) { fields::put(to, field.name, from.*field.pointer); });
  return to;
}

template <class T>
void read(const nlohmann::json& from, T& to, const Place& place) {
  if (!from.is_object()) refuse(place, from, "an object");
  boost::mp11::mp_for_each<FieldsOf<T>>([&](auto field) {
    if (const auto found = from.find(field.name); found != from.end())
      fields::take(Place{&place, field.name}, *found, to.*field.pointer);
  });
}

}  // namespace tunorch
