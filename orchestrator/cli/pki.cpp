// `tunorch pki init`, `renew` and `revoke`.
#include "orchestrator/pki/pki.hpp"

#include <memory>
#include <stdexcept>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/pki/wireguard.hpp"

namespace tunorch {
namespace {

struct Options {
  std::string file, certificate;
  std::vector<std::string> nodes;
};

void print_all(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) print(line);
}

int revoke(const Options& options) {
  const Cluster cluster = load_file(options.file).cluster;
  if (options.nodes.empty() == options.certificate.empty())
    throw std::runtime_error("cannot revoke: give either node names or --certificate FILE");
  print_all(options.nodes.empty() ? revoke_certificate(cluster, options.certificate)
                                  : revoke_pki(cluster, options.nodes));
  print(
      "nodes that have ca.crl refuse it: keep that file, copy it to every node and run `tunorch "
      "apply` there");
  if (needs_wireguard_keys(cluster))
    print("wireguard tunnels have no such list: take the node out of the file, and apply that");
  return 0;
}

Verb init() {
  const auto file = std::make_shared<std::string>();
  return {.name = "init",
          .summary = "Make a CA and a certificate for each node",
          .details =
              "Files go to `pki.dir` of the file. A second run adds only what is missing.\n"
              "Give each host ca.crt, ca.crl if there is one, NODE.crt and NODE.key (for\n"
              "wireguard tunnels also NODE.wg.key and every *.wg.pub), and keep ca.key\n"
              "where you run this.",
          .options = {file_argument(*file)},
          .run = [file](const Paths&) {
            print_all(init_pki(load_file(*file).cluster));
            return 0;
          }};
}

Verb renew() {
  const auto options = std::make_shared<Options>();
  return {.name = "renew",
          .summary = "Make new certificates and keys, by the same CA",
          .details =
              "Give each host its NODE.crt and NODE.key, and apply: new connections use\n"
              "them, and `tunorch restart --rolling` makes every connection new. Keys of\n"
              "wireguard tunnels stay: remove NODE.wg.key and NODE.wg.pub and run\n"
              "`tunorch pki init` for new ones.",
          .options = {file_argument(options->file),
                      {.names = "node",
                       .help = "Default: all that have one",
                       .type = "NODE",
                       .value = &options->nodes}},
          .run = [options](const Paths&) {
            print_all(renew_pki(load_file(options->file).cluster, options->nodes));
            return 0;
          }};
}

Verb revoke_verb() {
  const auto options = std::make_shared<Options>();
  return {
      .name = "revoke",
      .summary = "Refuse a node's certificate from now on",
      .details =
          "Puts it on ca.crl and removes the node's certificate and keys here. Nodes\n"
          "that have ca.crl refuse it: copy ca.crl to every node and run apply there;\n"
          "its open sessions are then closed. `tunorch pki init` lets the node come back\n"
          "with new keys. Keep ca.crl with ca.key: a new list would not contain earlier\n"
          "revocations.",
      .options = {file_argument(options->file),
                  {.names = "node", .help = "Whose", .type = "NODE", .value = &options->nodes},
                  {.names = "--certificate",
                   .help = "Instead of a node's current one: this earlier one; no file is removed",
                   .type = "FILE",
                   .value = &options->certificate}},
      .run = [options](const Paths&) { return revoke(*options); }};
}

}  // namespace

Verb pki_verb() {
  return {.name = "pki",
          .summary = "Make the cluster's certificates",
          .details = "See tunorch pki init --help.",
          .verbs = {init(), renew(), revoke_verb()}};
}

}  // namespace tunorch
