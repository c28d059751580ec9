// What is thrown for a message of another process that cannot be understood.
#pragma once

#include <stdexcept>

namespace tunorch {

/// what() says in words what is wrong with it: "invalid value for 'port': "http" is not a number
/// from 0 to 65535".
class BadMessage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace tunorch
