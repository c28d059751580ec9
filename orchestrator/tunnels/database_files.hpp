// The files that libpq would open for a database's URL: a worker cannot, so the daemon reads them.
#pragma once

#include <map>
#include <string>

#include "protocol/worker.hpp"

namespace tunorch {

/// Paths by the libpq parameter that names them: passfile, sslkey and so on (PostgreSQL manual,
/// "Parameter Key Words"). The password file is that of the URL, of $PGPASSFILE, or ~/.pgpass,
/// where it is there.
std::map<std::string, std::string> database_files(const worker::PostgresSpec& postgres);

/// What is in them. Throws std::runtime_error where one cannot be read, or others can read a
/// secret.
std::map<std::string, std::string> read_database_files(const worker::PostgresSpec& postgres);

}  // namespace tunorch
