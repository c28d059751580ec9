#include "orchestrator/tunnels/tun_access.hpp"

#include <acl/libacl.h>
#include <sys/acl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <type_traits>

#include "base/owned.hpp"

namespace tunorch {
namespace {

constexpr const char* tun_path = "/dev/net/tun";

using AccessList = Owned<std::remove_pointer_t<acl_t>, acl_free>;

acl_tag_t tag_of(acl_entry_t entry) {
  acl_tag_t tag = ACL_UNDEFINED_TAG;
  ::acl_get_tag_type(entry, &tag);
  return tag;
}

bool is_of(acl_entry_t entry, std::uint32_t user) {
  const Owned<void, acl_free> id(tag_of(entry) == ACL_USER ? ::acl_get_qualifier(entry) : nullptr);
  return id && *static_cast<uid_t*>(id.get()) == user;
}

/// The first entry that `wanted` holds for; null where there is none.
template <class Wanted>
acl_entry_t find(acl_t list, Wanted wanted) {
  acl_entry_t entry = nullptr;
  for (int at = ACL_FIRST_ENTRY; ::acl_get_entry(list, at, &entry) == 1; at = ACL_NEXT_ENTRY)
    if (wanted(entry)) return entry;
  return nullptr;
}

bool add(acl_t& list, std::uint32_t user) {
  const uid_t id = user;
  acl_entry_t entry = nullptr;
  acl_permset_t rights = nullptr;
  return ::acl_create_entry(&list, &entry) == 0 && ::acl_set_tag_type(entry, ACL_USER) == 0 &&
         ::acl_set_qualifier(entry, &id) == 0 && ::acl_get_permset(entry, &rights) == 0 &&
         ::acl_add_perm(rights, ACL_READ | ACL_WRITE) == 0 && ::acl_calc_mask(&list) == 0;
}

}  // namespace

void allow_tun(std::uint32_t user) {
  struct stat device {};
  if (::stat(tun_path, &device) != 0 || (device.st_mode & 06) == 06) return;
  acl_t list = ::acl_get_file(tun_path, ACL_TYPE_ACCESS);
  bool ok = list != nullptr;
  if (ok && !find(list, [&](acl_entry_t entry) { return is_of(entry, user); }))
    ok = add(list, user) && ::acl_set_file(tun_path, ACL_TYPE_ACCESS, list) == 0;
  const int error = errno;
  const AccessList owned(list);
  if (!ok)
    throw std::system_error(error, std::generic_category(),
                            std::string("cannot let user ") + std::to_string(user) + " open " +
                                tun_path + "; run chmod 0666 " + tun_path +
                                ", which is safe: the kernel checks who may use which device");
}

void forbid_tun(std::uint32_t user) {
  const AccessList list(::acl_get_file(tun_path, ACL_TYPE_ACCESS));
  acl_entry_t ours =
      list ? find(list.get(), [&](acl_entry_t one) { return is_of(one, user); }) : nullptr;
  if (!ours) return;
  ::acl_delete_entry(list.get(), ours);
  // With nobody named on it the list is the file's mode again, which has no mask.
  const bool named = find(list.get(), [](acl_entry_t entry) {
    return tag_of(entry) == ACL_USER || tag_of(entry) == ACL_GROUP;
  });
  if (!named)
    if (acl_entry_t mask =
            find(list.get(), [](acl_entry_t one) { return tag_of(one) == ACL_MASK; }))
      ::acl_delete_entry(list.get(), mask);
  ::acl_set_file(tun_path, ACL_TYPE_ACCESS, list.get());
}

}  // namespace tunorch
