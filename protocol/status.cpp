#include "protocol/status.hpp"

#include "protocol/fields.hpp"

namespace tunorch {

std::string to_line(const Status& status) {
  return line_of(status);
}

Status status_from(const nlohmann::json& from) {
  Status status;
  read(from, status);
  return status;
}

}  // namespace tunorch
