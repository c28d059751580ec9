#include "orchestrator/tunnels/database_files.hpp"

#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "orchestrator/pki/files.hpp"

namespace tunorch {
namespace {

constexpr const char* parameters[] = {"passfile", "sslkey", "sslcert", "sslrootcert", "sslcrl"};

/// Of "…?a=b&c=d", with %2F and the like as libpq takes them.
std::string parameter_of(const std::string& url, const std::string& name) {
  for (const char before : {'?', '&'}) {
    const std::string key = before + name + "=";
    const auto found = url.find(key);
    if (found == url.npos) continue;
    const auto from = found + key.size();
    const std::string coded = url.substr(from, url.find('&', from) - from);
    std::string value;
    for (std::size_t i = 0; i < coded.size(); ++i) {
      const char* const code = coded.data() + i + 1;
      unsigned char byte = 0;
      if (coded[i] == '%' && i + 2 < coded.size() &&
          std::from_chars(code, code + 2, byte, 16).ptr == code + 2) {
        value += static_cast<char>(byte);
        i += 2;
      } else {
        value += coded[i];
      }
    }
    return value;
  }
  return "";
}

std::string password_file() {
  if (const char* file = std::getenv("PGPASSFILE")) return file;
  const passwd* user = ::getpwuid(::geteuid());
  return user ? std::string(user->pw_dir) + "/.pgpass" : "";
}

}  // namespace

std::map<std::string, std::string> database_files(const worker::PostgresSpec& postgres) {
  std::map<std::string, std::string> files;
  for (const std::string& url : {postgres.up.url, postgres.down.url})
    for (const char* name : parameters) {
      const std::string path = parameter_of(url, name);
      if (path.empty() || path == "system") continue;
      if (files.contains(name) && files[name] != path)
        throw std::runtime_error(
            std::string("both directions of the postgres transport need one ") + name + ", not " +
            files[name] + " and " + path);
      files[name] = path;
    }
  if (const std::string file = password_file();
      !files.contains("passfile") && std::filesystem::exists(file))
    files["passfile"] = file;
  return files;
}

std::map<std::string, std::string> read_database_files(const worker::PostgresSpec& postgres) {
  std::map<std::string, std::string> texts;
  for (const auto& [name, path] : database_files(postgres)) {
    if (!std::filesystem::exists(path))
      throw std::runtime_error("cannot read " + path + ", which the URL of the database names");
    const bool secret = name == "passfile" || name == "sslkey";
    texts[name] = read_pki_file(path, secret ? Secret::yes : Secret::no);
  }
  return texts;
}

}  // namespace tunorch
