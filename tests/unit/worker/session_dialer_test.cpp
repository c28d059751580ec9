// The same of a worker that dials: its listener is who its certificate says, answers with a CONFIG
// first, and cannot hurt it by whatever else it says (session_state_test.cpp has the other role).
#include "tests/unit/worker/session_messages.hpp"

namespace tunorch {
namespace {

class DialerSession : public Sessions {
 protected:
  void SetUp() override {
    Sessions::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    worker_.emplace(spec(), nullptr);
  }
  Spec spec() const {
    Spec spec = listener_spec(keys_.of("edge"));
    spec.node = "edge";
    spec.listener = false;
    spec.address = "127.0.0.1";
    spec.port = door_.port();
    spec.peers = {{"gateway", {"10.77.0.0/24"}, "same"}};
    return spec;
  }
  std::unique_ptr<Peer> accepted(const NodeKeys& keys) {
    return std::make_unique<Peer>(door_.accept(), keys, true);
  }
  /// It has sent its HELLO.
  std::unique_ptr<Peer> secured() {
    auto peer = accepted(keys_.of("gateway"));
    if (!peer->handshake() || !peer->receive(FrameType::hello))
      throw std::runtime_error("the worker does not greet");
    return peer;
  }
  static std::string config() { return worker::config_text({}); }
  void expect_no_session(const std::string& after) {
    ASSERT_TRUE(worker_->alive()) << after;
    worker_->listen();
    for (const worker::Report& report : worker_->told)
      EXPECT_NE(report.event, worker::ReportKind::session_up) << after;
    EXPECT_FALSE(worker_->packet()) << "a packet reached the TUN, after: " << after;
  }

  Listening door_;
  std::optional<WorkerProcess> worker_;
};

TEST_F(DialerSession, GreetsTheListenerOfItsFileAlone) {
  const Keys other_ca;
  const std::vector<NodeKeys> wrong{keys_.of("branch"), other_ca.of("gateway"), keys_.of("edge")};
  for (const NodeKeys& keys : wrong) {
    auto peer = accepted(keys);
    peer->handshake();
    peer->send(FrameType::config, config());
    EXPECT_FALSE(peer->receive(FrameType::hello));
    EXPECT_TRUE(peer->ends());
    expect_no_session("a wrong certificate");
  }
  const auto refused = worker_->wait_for(worker::ReportKind::refused);
  ASSERT_TRUE(refused);
  EXPECT_NE(refused->reason.find("certificate"), std::string::npos) << refused->reason;
}

TEST_F(DialerSession, RefusesACertificateThatIsRevokedDuringItsHandshake) {
  auto peer = secured();
  keys_.revoke("gateway");
  worker_->update(spec());
  peer->send(FrameType::config, config());
  EXPECT_TRUE(peer->ends());
  EXPECT_EQ(peer->reason(), "its certificate is revoked");
  expect_no_session("its revocation");
}

TEST_F(DialerSession, TakesNothingButAConfigFirst) {
  for (const auto& [name, bytes] : messages()) {
    SCOPED_TRACE(name);
    auto peer = secured();
    peer->send(bytes + frame_bytes(FrameType::data, packet_from("10.77.0.1")));
    if (name == "config") {
      EXPECT_TRUE(worker_->wait_for(worker::ReportKind::session_up, "gateway"));
      EXPECT_EQ(worker_->packet(soon), packet_from("10.77.0.1"));
      peer.reset();
      EXPECT_TRUE(worker_->wait_for(worker::ReportKind::session_down, "gateway"));
    } else {
      EXPECT_TRUE(peer->ends());
      expect_no_session(name);
    }
  }
}

TEST_F(DialerSession, EndsALiveSessionOverWhatIsOutOfPlaceAndDialsAgain) {
  for (const auto& [name, bytes] : messages()) {
    SCOPED_TRACE(name);
    auto peer = secured();
    peer->send(FrameType::config, config());
    ASSERT_TRUE(worker_->wait_for(worker::ReportKind::session_up, "gateway"));
    peer->send(bytes);
    EXPECT_TRUE(ends_a_session(name) ? peer->ends() : peer->answers());
    peer.reset();
    const auto down = worker_->wait_for(worker::ReportKind::session_down, "gateway");
    ASSERT_TRUE(down);
    EXPECT_FALSE(down->reason.empty());
    while (worker_->packet()) continue;
    ASSERT_TRUE(worker_->alive());
  }
}

TEST_F(DialerSession, IsUnharmedByMessagesThatAreCutOff) {
  for (const auto& [name, bytes] : messages()) {
    if (bytes.size() > 1024) continue;
    for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 4)
      secured()->send(bytes.substr(0, size));
    expect_no_session(name + " cut off");
  }
  for (int i = 0; i < 10; ++i) door_.accept();  // and closed before any TLS
  EXPECT_TRUE(secured());
}

}  // namespace
}  // namespace tunorch
