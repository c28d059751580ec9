// What restarts a worker, and what does not. The digests here are those of version 0.1.0 as it was
// first released: workers that it started must not be restarted by a later daemon.
#include "orchestrator/plan/digest.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "orchestrator/plan/desired.hpp"
#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

const NodeKeys keys{"CA\n", "CERT\n", "KEY\n"};

worker::Spec spec_of(const std::string& node) {
  return desired_for(sample_cluster(), node).tunnels[1].spec;
}

TEST(Digest, IsThatOfTheFirstVersion) {
  EXPECT_EQ(with_keys(spec_of("edge"), keys).digest, "a17e53c039cf9a4a-6c0dbfff66a9d806");
  EXPECT_EQ(with_keys(spec_of("gateway"), keys).digest, "68dcb82e5f8851e9-a01fc0ec1d355e7a");
}

TEST(Digest, OfADatabaseIsThatOfTheFirstVersion) {
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels[1].transport = "postgres";
  cluster.bundles[0].postgres.up.url = "postgresql://vpn@db/vpn";
  worker::Spec spec = desired_for(cluster, "edge").tunnels[1].spec;
  spec.secrets = {{"passfile", "x"}};
  EXPECT_EQ(with_keys(spec, keys).digest, "6318c1a99904a859-3afd76149aef02ec");
}

TEST(Digest, OfALaunchIsThatOfTheFirstVersion) {
  Launch launch;
  launch.argv = {"a", "b"};
  launch.files = {{"f", "text", false}, {"k", "key", true}};
  launch.control = "c";
  EXPECT_EQ(digest_of(launch), "da4b96629a777ae3-fb67cc0a2e47a2f7");
}

TEST(Digest, FixedFieldsNeedAnotherProcess) {
  const std::string running = with_keys(spec_of("edge"), keys).digest;
  for (const auto& change : std::vector<std::function<void(worker::Spec&)>>{
           [](worker::Spec& spec) { spec.port = 1; },
           [](worker::Spec& spec) { spec.congestion = "cubic"; },
           [](worker::Spec& spec) { spec.isolate = false; },
           [](worker::Spec& spec) { spec.postgres.keep_s = 1; },
       }) {
    worker::Spec spec = spec_of("edge");
    change(spec);
    EXPECT_FALSE(updates_live(running, with_keys(spec, keys).digest));
  }
}

TEST(Digest, LiveFieldsChangeItAndNeedNoOther) {
  const std::string running = with_keys(spec_of("edge"), keys).digest;
  for (const auto& change : std::vector<std::function<void(worker::Spec&)>>{
           [](worker::Spec& spec) { spec.interval_ms = 1; },
           [](worker::Spec& spec) { spec.max_backoff_ms = 1; },
           [](worker::Spec& spec) { spec.peers.clear(); },
       }) {
    worker::Spec spec = spec_of("edge");
    change(spec);
    const std::string wanted = with_keys(spec, keys).digest;
    EXPECT_NE(running, wanted);
    EXPECT_TRUE(updates_live(running, wanted));
  }
  EXPECT_TRUE(
      updates_live(running, with_keys(spec_of("edge"), {"CA 2\n", "CERT\n", "KEY\n"}).digest));
}

// ---- the JSON, which workers of the version before read and write ----

TEST(SpecJson, IsOneFlatObject) {
  worker::Spec spec = with_keys(spec_of("edge"), keys);
  const nlohmann::json json = to_json(spec);
  EXPECT_EQ(json["tunnel"], "backbone-1");
  EXPECT_EQ(json["peers"][0]["node"], "gateway");
  EXPECT_EQ(json["digest"], spec.digest);
  EXPECT_FALSE(json.contains("secrets"));
  const auto again = worker::spec_from(json);
  EXPECT_EQ(to_json(again), json);
}

TEST(SpecJson, TakesDefaultsForWhatIsMissingAndIgnoresWhatItDoesNotKnow) {
  const auto spec = worker::spec_from(nlohmann::json::parse(R"({"tunnel":"b-0","later":{"x":1}})"));
  EXPECT_EQ(spec.tunnel, "b-0");
  EXPECT_EQ(spec.interval_ms, 200u);
  EXPECT_EQ(spec.congestion, "auto");
}

TEST(SpecJson, RefusesAValueOfTheWrongKind) {
  EXPECT_THROW(worker::spec_from(nlohmann::json::parse(R"({"port":"http"})")), BadMessage);
  EXPECT_THROW(worker::spec_from(nlohmann::json::parse(R"({"peers":{}})")), BadMessage);
}

TEST(ControlProtocol, ThisVersionAndTheOneBeforeAreSpoken) {
  EXPECT_TRUE(worker::speaks(worker::control_protocol));
  EXPECT_FALSE(worker::speaks(worker::control_protocol + 1));
  EXPECT_FALSE(worker::speaks(0));
}

}  // namespace
}  // namespace tunorch
