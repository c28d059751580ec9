#include "orchestrator/support/redact_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "orchestrator/support/redact_pem.hpp"

namespace tunorch {
namespace {

using std::string_view;

/// Of a name without what joins its words.
constexpr std::array<string_view, 9> secret_parts{"pass",       "secret",        "token",
                                                  "psk",        "private",       "preshared",
                                                  "credential", "authorization", "cookie"};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

bool is_name(char c) {
  return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

bool is_one_of(char c, string_view characters) {
  return characters.find(c) != characters.npos;
}

bool is_quote(char c) {
  return c == '"' || c == '\'';
}

/// `://user:password@`, to the last `@` of the word: a password may hold what should be escaped.
std::string redact_urls(string_view line, TextKind kind) {
  const char* const ends = kind == TextKind::lines ? " \t\r\n\"" : " \t\r\n";
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = line.find("://"); at != line.npos; at = line.find("://", done)) {
    const std::size_t begin = at + 3;
    const std::size_t end = std::min(line.find_first_of(ends, begin), line.size());
    const string_view word = line.substr(begin, end - begin);
    const std::size_t mark = word.rfind('@');
    const std::size_t colon = word.find(':');
    const string_view before = line.substr(done, at - done);
    const bool token = before.ends_with("http") || before.ends_with("https");
    out.append(line.substr(done, begin - done));
    if (mark == word.npos || (colon > mark && !token)) {
      out.append(word);
    } else {
      if (colon < mark) out.append(word.substr(0, colon + 1));
      out.append(redacted_word).append(word.substr(mark));
    }
    done = end;
  }
  return out.append(line.substr(std::min(done, line.size())));
}

/// Finds names that say that a secret follows, and its end. One line; what it says of lines to come
/// is in `takes_deeper`.
class LineRedactor {
 public:
  LineRedactor(string_view line, TextKind kind) : line_(line), kind_(kind) {}

  std::string run() {
    while (at_ < line_.size()) {
      if (!is_name(line_[at_])) {
        count(line_[at_]);
        out_ += line_[at_++];
        continue;
      }
      const std::size_t begin = at_;
      while (at_ < line_.size() && is_name(line_[at_])) ++at_;
      const string_view name = line_.substr(begin, at_ - begin);
      out_.append(name);
      if (is_secret_name(name)) after_name(begin);
    }
    return out_;
  }

  bool takes_deeper() const { return takes_deeper_; }  // deeper lines are of the last value
  bool left_empty() const { return left_empty_; }      // and this one has nothing of it
  std::size_t key_column() const { return key_column_; }

 private:
  void count(char c) {
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && depth_ > 0) --depth_;
  }

  bool has(std::size_t at) const { return at < line_.size(); }

  std::size_t skip_blanks(std::size_t at) const {
    while (has(at) && is_blank(line_[at])) ++at;
    return at;
  }

  /// Past a quote and the backslashes before it, where there is one.
  std::size_t skip_quote(std::size_t at) const {
    std::size_t end = at;
    while (has(end) && line_[end] == '\\') ++end;
    return has(end) && is_quote(line_[end]) ? end + 1 : at;
  }

  /// Nothing but indentation, `- ` and a quote before it.
  bool begins_line(std::size_t begin) const {
    return line_.substr(0, begin).find_first_not_of(" \t-\"'") == line_.npos;
  }

  void copy_to(std::size_t end) {
    out_.append(line_.substr(at_, end - at_));
    at_ = end;
  }

  void after_name(std::size_t begin) {
    if (begin > 0 && line_[begin - 1] == '<' && has(at_) && line_[at_] == '>') {
      copy_to(at_ + 1);
      return replace_to(std::min(line_.find('<', at_), line_.size()), false);
    }
    std::size_t next = skip_blanks(skip_quote(at_));
    if (line_.substr(next, 3) == "key" || line_.substr(next, 3) == "Key")
      next = skip_blanks(next + 3);
    if (has(next) && (line_[next] == ':' || line_[next] == '=')) {
      if (line_.substr(next, 2) == ":=" || line_.substr(next, 2) == "=>") ++next;
      return assigned(begin, next);
    }
    const std::size_t word = skip_blanks(at_);
    if (word == at_ || !has(word)) return;
    const bool option = line_[begin] == '-' && takes_secret(line_.substr(begin, at_ - begin));
    if (skip_quote(word) != word) {
      copy_to(word);
      quoted();
    } else if (line_[word] != '-' && (option || seems_made_up(word))) {
      copy_to(word);
      replace_to(end_of_word(word), false);
    }
  }

  /// A word of prose has no digits, and an address or a number no letters.
  bool seems_made_up(std::size_t at) const {
    const string_view word = line_.substr(at, end_of_word(at) - at);
    return word.size() >= 6 &&
           std::ranges::any_of(word, [](char c) { return c >= '0' && c <= '9'; }) &&
           std::ranges::any_of(word, [](char c) { return lower(c) >= 'a' && lower(c) <= 'z'; });
  }

  /// `separator`: where `:` or `=` stands.
  void assigned(std::size_t begin, std::size_t separator) {
    const bool colon = line_[separator] == ':';
    const bool key = begins_line(begin);
    const bool in_url = begin > 0 && (line_[begin - 1] == '?' || line_[begin - 1] == '&');
    copy_to(separator + 1);
    const std::size_t value = skip_blanks(at_);
    copy_to(value);
    if (key && (colon || value == line_.size())) note_key(begin);
    if (!has(value)) {
      left_empty_ = takes_deeper_;
    } else if (skip_quote(value) != value) {
      quoted();
    } else if (const std::size_t end = colon ? end_of_brackets(value) : value; end != value) {
      replace_to(end, true);
    } else if (colon && depth_ > 0) {
      replace_to(std::min(line_.find_first_of(",}]", value), line_.size()), true);
    } else if (in_url) {
      replace_to(std::min(line_.find('&', value), end_of_word(value)), false);
    } else if (colon || key) {
      replace_to(line_.size(), colon);
    } else {
      replace_to(end_of_word(value), false);
    }
  }

  void note_key(std::size_t begin) {
    takes_deeper_ = true;
    key_column_ = begin > 0 && is_quote(line_[begin - 1]) ? begin - 1 : begin;
  }

  /// As YAML reads it, the bare word would be a list.
  void replace_to(std::size_t end, bool quote) {
    if (quote) out_ += '"';
    out_.append(redacted_word);
    if (quote) out_ += '"';
    at_ = end;
  }

  /// From the opening quote to its like; to the end of the line where there is none.
  void quoted() {
    const std::size_t open = skip_quote(at_);
    const string_view mark = line_.substr(at_, open - at_);  // `"`, `\"`, `'`
    copy_to(open);
    out_.append(redacted_word).append(mark);
    while (has(at_)) {
      const std::size_t close = skip_quote(at_);
      if (close == at_) {
        // Backslashes that are followed by no quote come in pairs, or escape another letter.
        while (has(at_) && line_[at_] == '\\') ++at_;
        if (has(at_)) ++at_;
        continue;
      }
      const bool same = closes(line_.substr(at_, close - at_), mark);
      const bool doubled = mark == "'" && line_.substr(close, 1) == "'";
      at_ = close + (same && doubled ? 1 : 0);
      if (same && !doubled) return skip_joined();
    }
  }

  /// As a shell joins them: 'a'b"c".
  void skip_joined() {
    while (has(at_) && !is_blank(line_[at_]) && !is_one_of(line_[at_], ",;:)}]>&/\\"))
      at_ = is_quote(line_[at_]) ? std::min(line_.find(line_[at_], at_ + 1), line_.size() - 1) + 1
                                 : at_ + 1;
  }

  /// Behind an even number of backslashes, which stand for themselves, a quote ends what one began.
  static bool closes(string_view quote, string_view mark) {
    return quote == mark || (mark == "\"" && quote.ends_with('"') && quote.size() % 2 == 1);
  }

  /// Of a list or map that is the whole value; where it stands itself if there is none.
  std::size_t end_of_brackets(std::size_t begin) const {
    int depth = 0;
    for (std::size_t at = begin; has(at); ++at) {
      if (line_[at] == '[' || line_[at] == '{') ++depth;
      if (line_[at] == ']' || line_[at] == '}') --depth;
      if (depth > 0) continue;
      const std::size_t next = skip_blanks(at + 1);
      const bool whole = at > begin && (!has(next) || is_one_of(line_[next], ",}]#"));
      return whole ? at + 1 : begin;
    }
    return line_.size();
  }

  /// A blank behind a backslash is a part of it (libpq), and so is a quote where the text is a
  /// value.
  std::size_t end_of_word(std::size_t at) const {
    for (; has(at) && !is_blank(line_[at]); ++at) {
      if (line_[at] == '\\' && has(at + 1) && line_[at + 1] != '"')
        ++at;
      else if (line_[at] == '"' && kind_ == TextKind::lines)
        break;
    }
    return std::min(at, line_.size());
  }

  string_view line_;
  TextKind kind_;
  std::size_t at_ = 0;
  int depth_ = 0;  // of brackets
  std::string out_;
  bool takes_deeper_ = false, left_empty_ = false;
  std::size_t key_column_ = 0;
};

/// Whether a line is a part of the value of a key in that column.
bool belongs_to(string_view line, std::size_t key_column) {
  const std::size_t first = line.find_first_not_of(" \t\r");
  if (first == line.npos) return false;
  return first > key_column || (first == key_column && line.substr(first, 2) == "- ");
}

}  // namespace

bool is_secret_name(string_view name) {
  std::string small(name);
  std::erase_if(small, [](char c) { return is_one_of(c, "-_."); });
  std::ranges::transform(small, small.begin(), lower);
  const bool some_key = small.ends_with("key") && small.size() > 3 &&
                        !small.ends_with("publickey") && !small.ends_with("pubkey");
  return small == "env" || small == "environment" || small == "pw" || small.ends_with("pwd") ||
         some_key || std::ranges::any_of(secret_parts, [&](string_view part) {
           return small.find(part) != small.npos;
         });
}

bool takes_secret(string_view word) {
  return word.starts_with('-') && std::ranges::all_of(word, is_name) && is_secret_name(word);
}

std::string redact_text(string_view text, TextKind kind) {
  const std::string whole = redact_pem(text);
  std::string out;
  bool inside = false;      // lines of a secret value
  bool left_empty = false;  // it is not yet said that there was one
  std::size_t key_column = 0;
  for (string_view rest = whole; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const string_view line = rest.substr(0, end), newline = rest.substr(end, 1);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (inside && belongs_to(line, key_column)) {
      if (std::exchange(left_empty, false))
        out.append(key_column + 2, ' ').append("\"").append(redacted_word).append("\"\n");
      continue;
    }
    const std::string clean = redact_urls(line, kind);
    LineRedactor redactor(clean, kind);
    out.append(redactor.run()).append(newline);
    inside = redactor.takes_deeper();
    left_empty = redactor.left_empty();
    key_column = redactor.key_column();
  }
  return out;
}

}  // namespace tunorch
