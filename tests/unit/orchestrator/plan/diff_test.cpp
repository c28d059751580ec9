#include "orchestrator/plan/diff.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tunorch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Object = std::pair<int, std::string>;
using Objects = std::vector<Object>;

/// "+new", "-old", "old>new".
template <class T>
std::vector<std::string> texts(const std::vector<Change<T>>& changes) {
  std::vector<std::string> all;
  for (const Change<T>& change : changes)
    all.push_back(!change.before  ? "+" + change.after->second
                  : !change.after ? "-" + change.before->second
                                  : change.before->second + ">" + change.after->second);
  return all;
}

std::vector<std::string> texts(const std::vector<Step>& steps) {
  std::vector<std::string> all;
  for (const Step& step : steps) all.push_back(describe(step));
  return all;
}

TEST(Diff, NothingOfEqualLists) {
  const Objects both{{1, "a"}, {2, "b"}};
  const auto steps = diff(both, both, &Object::first);
  EXPECT_THAT(steps.changed, IsEmpty());
  EXPECT_THAT(steps.gone, IsEmpty());
}

TEST(Diff, MakesChangesAndRemovesByKey) {
  const Objects now{{1, "a"}, {2, "b"}, {3, "c"}}, wanted{{4, "d"}, {2, "B"}, {1, "a"}};
  const auto steps = diff(now, wanted, &Object::first);
  EXPECT_THAT(texts(steps.changed), ElementsAre("+d", "b>B"));
  EXPECT_THAT(texts(steps.gone), ElementsAre("-c"));
}

TEST(Diff, WithoutAKeyNothingIsChangedInPlace) {
  const auto steps = diff(Objects{{1, "a"}}, Objects{{1, "b"}});
  EXPECT_THAT(texts(steps.changed), ElementsAre("+b"));
  EXPECT_THAT(texts(steps.gone), ElementsAre("-a"));
}

TEST(Diff, KeepsTheOrderOfItsLists) {
  const auto steps = diff(Objects{{9, "z"}, {1, "a"}, {5, "m"}},
                          Objects{{8, "y"}, {2, "b"}, {6, "n"}}, &Object::first);
  EXPECT_THAT(texts(steps.changed), ElementsAre("+y", "+b", "+n"));
  EXPECT_THAT(texts(steps.gone), ElementsAre("-z", "-a", "-m"));
}

TEST(Diff, AsksWhetherAnObjectNeedsAChange) {
  const auto same_length = [](const Object& a, const Object& b) {
    return a.second.size() == b.second.size();
  };
  const auto steps =
      diff(Objects{{1, "a"}, {2, "b"}}, Objects{{1, "x"}, {2, "xx"}}, &Object::first, same_length);
  EXPECT_THAT(texts(steps.changed), ElementsAre("b>xx"));
}

TEST(Diff, TheFirstOfAKeyCounts) {
  const auto steps = diff(Objects{{1, "a"}, {1, "b"}}, Objects{{1, "b"}}, &Object::first);
  EXPECT_THAT(texts(steps.changed), ElementsAre("a>b"));
  EXPECT_THAT(steps.gone, IsEmpty());
}

TEST(Diff, OfOneObjectOrNone) {
  const std::optional<Object> none, a{{1, "a"}}, b{{2, "b"}};
  EXPECT_THAT(texts(diff(none, a).changed), ElementsAre("+a"));
  EXPECT_THAT(texts(diff(a, b).changed), ElementsAre("a>b"));
  EXPECT_THAT(diff(a, b).gone, IsEmpty());
  EXPECT_THAT(diff(a, a).changed, IsEmpty());
  EXPECT_THAT(texts(diff(a, none).gone), ElementsAre("-a"));
  EXPECT_THAT(diff(a, none).changed, IsEmpty());
  EXPECT_THAT(diff(none, none).gone, IsEmpty());
}

TEST(Steps, LaterKindsAreAddedLastAndRemovedFirst) {
  const auto nexthop = [](std::uint32_t id) { return routing::NexthopObject{id, "d"}; };
  const auto group = [](std::uint32_t id) {
    routing::NexthopGroup one;
    one.id = id;
    return one;
  };
  const auto id = &routing::NexthopObject::id;
  Steps steps;
  steps.append(diff(std::vector{nexthop(1), nexthop(2)}, std::vector{nexthop(3), nexthop(4)}, id));
  steps.append(diff(std::vector{group(5)}, std::vector{group(6)}, &routing::NexthopGroup::id));
  EXPECT_THAT(texts(steps.additions), ElementsAre("+ nexthop 3: dev d", "+ nexthop 4: dev d",
                                                  testing::StartsWith("+ nexthop group: 6")));
  EXPECT_THAT(texts(steps.removals), ElementsAre(testing::StartsWith("- nexthop group: 5"),
                                                 "- nexthop 1: dev d", "- nexthop 2: dev d"));
  const auto expected = [&] {
    std::vector<std::string> all = texts(steps.additions);
    for (const std::string& text : texts(steps.removals)) all.push_back(text);
    return all;
  }();
  EXPECT_EQ(texts(std::move(steps).in_order()), expected);
}

}  // namespace
}  // namespace tunorch
