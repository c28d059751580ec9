#include "orchestrator/engines/registry.hpp"

#include <stdexcept>
#include <utility>

#include "orchestrator/engines/command.hpp"
#include "orchestrator/engines/openvpn.hpp"
#include "orchestrator/engines/wireguard.hpp"

namespace tunorch {
namespace {

const std::pair<Engine, const ForeignEngine&> engines[] = {
    {Engine::openvpn, openvpn_engine()},
    {Engine::wireguard, wireguard_engine()},
    {Engine::command, command_engine()},
};

}  // namespace

const ForeignEngine& foreign_engine(Engine engine) {
  for (const auto& [one, implementation] : engines)
    if (one == engine) return implementation;
  throw std::logic_error(std::string("engine ") + to_string(engine) + " is not registered");
}

}  // namespace tunorch
