#include "worker/postgres_connection.hpp"

#include <poll.h>

#include <algorithm>
#include <map>

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds connect_limit{3};
/// For one statement of ours; each is short.
constexpr seconds answer_limit{10};

constexpr std::string_view insufficient_privilege = "42501";  // Appendix A of its manual

std::map<std::string, std::string> parse(const std::string& url) {
  char* error = nullptr;
  const Owned<PQconninfoOption, PQconninfoFree> options(PQconninfoParse(url.c_str(), &error));
  const std::string why = error ? error : "";
  PQfreemem(error);
  if (!options) throw DatabaseError("the database's URL cannot be used: " + why);
  std::map<std::string, std::string> given;
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (option->val) given[option->keyword] = option->val;
  return given;
}

/// libpq's words in one line, without its "FATAL:" and hints.
std::string one_line(const char* text) {
  std::string line = text ? text : "";
  while (!line.empty() && line.back() == '\n') line.pop_back();
  std::ranges::replace(line, '\n', ' ');
  return line.empty() ? "no reason given" : line;
}

}  // namespace

std::string database_text(const std::string& url) {
  auto given = parse(url);
  const std::string host = given.contains("host") ? given["host"] : given["hostaddr"];
  return (host.empty() ? "local" : host) + (given["port"].empty() ? "" : ":" + given["port"]) +
         "/" + (given["dbname"].empty() ? given["user"] : given["dbname"]);
}

std::string quoted_name(const std::string& name) {
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

bool DatabaseConnection::wait(short events, milliseconds limit) const {
  pollfd fds[] = {{PQsocket(connection_.get()), events, 0}, {bell_, POLLIN, 0}};
  const int ready = ::poll(fds, 2, static_cast<int>(limit.count()));
  if (fds[1].revents) throw Stopped{};
  return ready > 0;
}

void DatabaseConnection::open() {
  auto given = parse(spec_.url);
  for (const auto& [parameter, path] : files_) given[parameter] = path;
  given.try_emplace("application_name", "tunorch");
  given.try_emplace("tcp_user_timeout", "5000");
  std::vector<const char*> keywords, values;
  for (const auto& [keyword, value] : given) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  connection_.reset(PQconnectStartParams(keywords.data(), values.data(), 0));
  if (!connection_) throw std::bad_alloc();
  const auto until = std::chrono::steady_clock::now() + connect_limit;
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  if (PQstatus(connection_.get()) == CONNECTION_BAD) fail();
  while (status != PGRES_POLLING_OK) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !wait(status == PGRES_POLLING_READING ? POLLIN : POLLOUT, left)) {
      connection_.reset();
      throw DatabaseError("the database " + database_text(spec_.url) + " does not answer");
    }
    status = PQconnectPoll(connection_.get());
    if (status == PGRES_POLLING_FAILED) fail();
  }
  try {
    run(std::string("SET synchronous_commit = ") + (sync_ ? "on" : "off"));
    check_schema();
  } catch (...) {
    connection_.reset();
    throw;
  }
}

void DatabaseConnection::check_schema() {
  const std::string name = "the database " + database_text(spec_.url);
  const std::string remedy = ": run `tunorch-worker postgres-init` with its URL" +
                             (spec_.schema == DatabaseSpec{}.schema ? "" : " and " + spec_.schema);
  const auto there = run("SELECT to_regclass($1)", {quoted_name(spec_.schema) + ".about"});
  if (PQgetisnull(there.get(), 0, 0))
    throw DatabaseError(name + " has no tables of tunorch in schema " + spec_.schema + remedy);
  const auto about = run("SELECT version FROM " + quoted_name(spec_.schema) + ".about");
  const std::string version = PQntuples(about.get()) == 1 ? PQgetvalue(about.get(), 0, 0) : "?";
  if (version != std::to_string(schema_version))
    throw DatabaseError(name + " has tables of version " + version + " in schema " + spec_.schema +
                        ", and this worker knows " + std::to_string(schema_version) + remedy);
}

DatabaseResult DatabaseConnection::run(const std::string& sql,
                                       const std::vector<std::string>& values, bool binary) {
  std::vector<const char*> parameters;
  for (const std::string& value : values) parameters.push_back(value.c_str());
  if (PQsendQueryParams(connection_.get(), sql.c_str(), static_cast<int>(parameters.size()),
                        nullptr, parameters.data(), nullptr, nullptr, binary ? 1 : 0) != 1)
    fail();
  DatabaseResult last;
  for (;;) {
    while (PQisBusy(connection_.get())) {
      if (!wait(POLLIN, answer_limit)) throw DatabaseError("the database does not answer");
      if (PQconsumeInput(connection_.get()) != 1) fail();
    }
    DatabaseResult result(PQgetResult(connection_.get()));
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) fail(result.get());
    last = std::move(result);
  }
  return last;
}

void DatabaseConnection::prepare(const char* name, const std::string& sql) {
  const DatabaseResult result(PQprepare(connection_.get(), name, sql.c_str(), 0, nullptr));
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) fail(result.get());
}

void DatabaseConnection::fail(const PGresult* result) const {
  const char* words = result ? PQresultErrorMessage(result) : "";
  if (!*words) words = PQerrorMessage(connection_.get());
  const char* state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  std::string remedy;
  if (PQconnectionNeedsPassword(connection_.get()))
    remedy =
        "; ~/.pgpass of root needs a line HOST:PORT:DATABASE:USER:PASSWORD, and apply reads it";
  else if (state && std::string_view(state) == insufficient_privilege)
    remedy = "; docs/postgres.md has the GRANTs that its role needs";
  throw DatabaseError("the database: " + one_line(words) + remedy);
}

}  // namespace tunorch::worker
