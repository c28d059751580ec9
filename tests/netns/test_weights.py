"""Flows are spread over the tunnels as their weights say."""

from lab import Flows, LabTest, cluster


class SharesFollowWeights(LabTest):
    spec = cluster(tunnels=[{"weight": 3}, {"weight": 1}, {"weight": 1}, {"weight": 1}])
    flows = 2500

    def check(self, address):
        got, _ = Flows(self.edge, self.gateway, address, self.flows, 10000, 1.5).finish()
        self.assertEqual(got["flows"], self.flows)
        shares = got["flows_by_device"]
        for tunnel, weight in (("backbone-0", 3), ("backbone-1", 1), ("backbone-2", 1),
                               ("backbone-3", 1)):
            expected = self.flows * weight / 6
            print(f"{address} {tunnel}: weight {weight}, flows {shares.get(tunnel, 0)}, "
                  f"expected {expected:.0f}")
            self.assertAlmostEqual(shares.get(tunnel, 0), expected, delta=0.15 * expected)

    def test_2500_flows_over_3_1_1_1(self):
        self.lab.up()
        self.check("10.77.0.1")
        self.check("fd77::1")
