#include "orchestrator/support/redact_pem.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "orchestrator/support/redact_text.hpp"

namespace tunorch {
namespace {

using std::string_view;

constexpr std::size_t longest_block = 64 * 1024;
constexpr std::size_t longest_label = 64;
constexpr std::size_t least_base64 = 16;  // in a line with other words before it

/// What may be shown; any other label is taken for a secret.
constexpr std::array<string_view, 13> public_labels{
    "CERTIFICATE",    "TRUSTED CERTIFICATE", "X509 CERTIFICATE",     "CERTIFICATE REQUEST",
    "X509 CRL",       "PUBLIC KEY",          "RSA PUBLIC KEY",       "EC PUBLIC KEY",
    "DH PARAMETERS",  "EC PARAMETERS",       "PGP PUBLIC KEY BLOCK", "PGP SIGNATURE",
    "SSH2 PUBLIC KEY"};

/// `-----BEGIN LABEL-----`, or with END; RFC 4716 has four dashes and blanks.
struct Boundary {
  std::size_t begin = 0, end = 0;  // in the text, dashes included
  bool opens = false;
  string_view label;

  bool secret() const { return std::ranges::find(public_labels, label) == public_labels.end(); }
};

std::optional<Boundary> boundary_at(string_view text, std::size_t word, bool opens) {
  const std::size_t size = opens ? 6 : 4;  // "BEGIN ", "END "
  std::size_t before = word;
  while (before > 0 && text[before - 1] == ' ') --before;
  const std::size_t dashes_end = before;
  while (before > 0 && text[before - 1] == '-') --before;
  if (dashes_end - before < 4) return std::nullopt;
  const string_view rest = text.substr(word + size, longest_label + 4);
  const std::size_t dashes = rest.find("--");
  if (dashes == rest.npos || rest.substr(0, dashes).find('\n') != rest.npos) return std::nullopt;
  string_view label = rest.substr(0, dashes);
  while (label.ends_with(' ')) label.remove_suffix(1);
  std::size_t end = word + size + dashes;
  while (end < text.size() && text[end] == '-') ++end;
  return Boundary{before, end, opens, label};
}

std::vector<Boundary> boundaries(string_view text) {
  std::vector<Boundary> found;
  for (const bool opens : {true, false}) {
    const string_view word = opens ? "BEGIN " : "END ";
    for (std::size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1))
      if (const auto one = boundary_at(text, at, opens)) found.push_back(*one);
  }
  std::ranges::sort(found, {}, &Boundary::begin);
  return found;
}

/// A line of a block's inside: base64 alone, or a long word of it behind what a log writes first.
bool is_inside(string_view line) {
  while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
  const std::size_t blank = line.find_last_of(" \t");
  const string_view word = blank == line.npos ? line : line.substr(blank + 1);
  const bool base64 =
      word.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
      word.npos;
  const bool alone = line.find_first_not_of(" \t") == (blank == line.npos ? 0 : blank + 1);
  return !word.empty() && base64 && (alone || word.size() >= least_base64);
}

std::size_t line_end(string_view text, std::size_t at) {
  return std::min(text.find('\n', at), text.size());
}

/// Where the block ends of which only the beginning is there.
std::size_t end_of_open(string_view text, const Boundary& begin, std::size_t limit) {
  std::size_t end = std::min(line_end(text, begin.end), limit);
  while (end < limit) {
    const std::size_t next = std::min(line_end(text, end + 1), limit);
    if (!is_inside(text.substr(end + 1, next - end - 1))) break;
    end = next;
  }
  return end;
}

/// Where the block began of which only the end is there; not before `limit`.
std::size_t begin_of_closed(string_view text, const Boundary& end, std::size_t limit) {
  const auto line_begin = [&](std::size_t at) {
    const std::size_t newline = at == 0 ? text.npos : text.rfind('\n', at - 1);
    return std::max(limit, newline == text.npos ? 0 : newline + 1);
  };
  std::size_t begin = line_begin(end.begin);
  while (begin > limit) {
    const std::size_t before = line_begin(begin - 1);
    if (!is_inside(text.substr(before, begin - 1 - before))) break;
    begin = before;
  }
  return begin;
}

}  // namespace

std::string redact_pem(string_view text) {
  const std::vector<Boundary> found = boundaries(text);
  std::string out;
  std::size_t done = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Boundary& one = found[i];
    if (!one.secret() || one.begin < done) continue;
    const Boundary* next = i + 1 < found.size() ? &found[i + 1] : nullptr;
    const bool whole = one.opens && next && !next->opens && next->secret() &&
                       next->end - one.begin <= longest_block;
    const std::size_t limit = next ? next->begin : text.size();
    const std::size_t begin = one.opens ? one.begin : begin_of_closed(text, one, done);
    const std::size_t end = whole ? next->end : one.opens ? end_of_open(text, one, limit) : one.end;
    out.append(text.substr(done, begin - done)).append(redacted_word);
    done = end;
  }
  return out.append(text.substr(done));
}

}  // namespace tunorch
