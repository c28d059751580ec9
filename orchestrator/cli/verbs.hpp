// What each verb of `tunorch` does, as a user sees it: prints to the terminal and returns the exit
// code. The command line itself is main.cpp's.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "orchestrator/system/files.hpp"

namespace tunorch {

/// What `init` was told; empty: nothing, so that it asks.
struct InitFlags {
  std::string cluster;
  std::string listen;  // NAME=ADDRESS
  std::vector<std::string> dial;
  std::string tunnels, metrics;
  bool yes = false;  // take the defaults instead of asking
};

struct VerbOptions {
  Paths paths;       // node empty: default_node()
  std::string file;  // cluster.yaml
  std::chrono::milliseconds timeout{30000};
  bool wait_peers = false;
  std::chrono::milliseconds confirm{0};  // 0: needs no confirmation
  bool json = false;
  bool follow = false;      // go on with what comes
  std::size_t lines = 100;  // of the log; 0: all
  std::string name;         // of a tunnel or a bundle
  std::vector<std::string> nodes;
  std::string certificate;  // a file
  std::chrono::milliseconds deadline{0};
  bool rolling = false;
  std::string source, destination, protocol;  // of a flow
  std::uint16_t source_port = 0, destination_port = 0;
  bool in = false;
  InitFlags init;
  std::string output;  // a file; empty: named by node and time
};

/// Makes a new cluster file and its PKI, and overwrites neither.
int init_verb(const VerbOptions& options);
/// Gathers what somebody needs to help, without secrets, in a tar.gz.
int support_bundle_verb(const VerbOptions& options);

int validate_verb(const VerbOptions& options);
/// 0: nothing to do, 2: there are changes, 1: error.
int plan_verb(const VerbOptions& options);
int apply_verb(const VerbOptions& options);
int confirm_verb(const VerbOptions& options);
int revert_verb(const VerbOptions& options);
int status_verb(const VerbOptions& options);
/// Until it is quit.
int top_verb(const VerbOptions& options);
int events_verb(const VerbOptions& options);
/// What the daemon and its workers said lately.
int logs_verb(const VerbOptions& options);
int drain_verb(const VerbOptions& options);
int undrain_verb(const VerbOptions& options);
int restart_verb(const VerbOptions& options);
int failback_verb(const VerbOptions& options);
int explain_verb(const VerbOptions& options);
/// 0: nothing to do, 2: there are warnings, 3: there are errors. The file may be missing.
int doctor_verb(const VerbOptions& options);
int down_verb(const VerbOptions& options);
int pki_init_verb(const VerbOptions& options);
int pki_renew_verb(const VerbOptions& options);
int pki_revoke_verb(const VerbOptions& options);

}  // namespace tunorch
