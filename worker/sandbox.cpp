#include "worker/sandbox.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/fd.hpp"

namespace tunorch::worker {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

/// A limit of 0 stops the file but not a pipe to a collector; 1 stops both (core(5), do_coredump()
/// in fs/coredump.c).
constexpr rlim_t no_core_dump = 1;
/// Threads: lanes, and two a stream of the postgres transport.
constexpr rlim_t most_threads = 256;

void limit(int resource, rlim_t value) {
  const rlimit both{value, value};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &both) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot set a limit of the worker");
}

// ---- landlock: every way to a file that the kernel knows to forbid ----

std::uint64_t forbidden_ways(int version) {
  // Version 1 has the first 13, each later one some more (linux/landlock.h).
  std::uint64_t ways = (1ULL << 13) - 1;
  if (version >= 2) ways |= 1ULL << 13;  // REFER
  if (version >= 3) ways |= 1ULL << 14;  // TRUNCATE
  return ways;
}

void close_files(FileAccess files) {
  const auto version = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (version < 1) return;  // seccomp refuses to open files all the same
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = forbidden_ways(version);
  const Fd rules(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  bool ok = rules.valid();
  if (ok && files == FileAccess::read) {
    const Fd root(::open("/", O_PATH | O_CLOEXEC));
    landlock_path_beneath_attr all{};
    all.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    all.parent_fd = root.get();
    ok = root.valid() &&
         ::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &all, 0) == 0;
  }
  if (!ok || ::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot close files to the worker");
}

// ---- seccomp ----

/// Adds rules to a filter; remembers that one could not be added.
class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_KILL_PROCESS)) {
    if (!context_) throw std::runtime_error("cannot make a filter of system calls");
  }
  ~Filter() { ::seccomp_release(context_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  void allow(std::initializer_list<int> calls) {
    for (const int call : calls) add(SCMP_ACT_ALLOW, call, {});
  }
  void allow_if(int call, std::initializer_list<scmp_arg_cmp> conditions) {
    add(SCMP_ACT_ALLOW, call, conditions);
  }
  void refuse(int error, std::initializer_list<int> calls) {
    for (const int call : calls) add(SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, {});
  }
  void refuse_if(int error, int call, std::initializer_list<scmp_arg_cmp> conditions) {
    add(SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, conditions);
  }
  void load() {
    if (error_ == 0) error_ = ::seccomp_load(context_);
    if (error_ != 0)
      throw std::system_error(-error_, std::generic_category(), "cannot filter system calls");
  }

 private:
  void add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions) {
    const int error = ::seccomp_rule_add_array(
        context_, action, call, static_cast<unsigned>(conditions.size()), std::data(conditions));
    if (error != 0 && error_ == 0) error_ = error;
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp lacks(unsigned argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}
scmp_arg_cmp has(unsigned argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, bits};
}

void allow_options(Filter& filter, int level, std::initializer_list<int> options) {
  for (const int option : options)
    filter.allow_if(SCMP_SYS(setsockopt), {equals(1, static_cast<std::uint64_t>(level)),
                                           equals(2, static_cast<std::uint64_t>(option))});
}

void allow_data_path(Filter& filter) {
  filter.allow({SCMP_SYS(read),           SCMP_SYS(write),          SCMP_SYS(readv),
                SCMP_SYS(writev),         SCMP_SYS(recvfrom),       SCMP_SYS(sendto),
                SCMP_SYS(recvmsg),        SCMP_SYS(sendmsg),        SCMP_SYS(recvmmsg),
                SCMP_SYS(sendmmsg),       SCMP_SYS(epoll_create1),  SCMP_SYS(epoll_ctl),
                SCMP_SYS(epoll_wait),     SCMP_SYS(epoll_pwait),    SCMP_SYS(epoll_pwait2),
                SCMP_SYS(poll),           SCMP_SYS(ppoll),          SCMP_SYS(eventfd2),
                SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime)});
  filter.allow({SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(shutdown),
                SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(close),
                SCMP_SYS(fcntl), SCMP_SYS(dup)});
  // Not SO_LINGER: the daemon, to which a socket could be sent, would wait in close().
  allow_options(filter, SOL_SOCKET, {SO_BINDTODEVICE, SO_SNDBUF, SO_RCVBUF, SO_MAX_PACING_RATE});
  allow_options(filter, IPPROTO_TCP,
                {TCP_NODELAY, TCP_CONGESTION, TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT});
  // The kernel's TLS, for which OpenSSL asks.
  allow_options(filter, IPPROTO_TCP, {TCP_ULP});
  allow_options(filter, SOL_TLS, {TLS_TX, TLS_RX});
  for (const std::uint64_t family : {std::uint64_t{AF_INET}, std::uint64_t{AF_INET6}})
    filter.allow_if(SCMP_SYS(socket),
                    {equals(0, family), {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM}, equals(2, 0)});
  for (const std::uint64_t request :
       {std::uint64_t{TUNSETOFFLOAD}, std::uint64_t{TUNSETCARRIER}, std::uint64_t{SIOCOUTQNSD}})
    filter.allow_if(SCMP_SYS(ioctl), {equals(1, request)});
  for (const std::uint64_t option : {std::uint64_t{PR_SET_NAME}, std::uint64_t{PR_SET_TIMERSLACK}})
    filter.allow_if(SCMP_SYS(prctl), {equals(0, option)});
}

/// What the C library and OpenSSL do on the way: memory that is never executable (who wants to load
/// a library is refused, and does without), threads but no processes, clocks, random numbers.
void allow_runtime(Filter& filter) {
  filter.allow_if(SCMP_SYS(mmap), {lacks(2, PROT_EXEC)});
  filter.allow_if(SCMP_SYS(mprotect), {lacks(2, PROT_EXEC)});
  filter.refuse_if(EACCES, SCMP_SYS(mmap), {has(2, PROT_EXEC)});
  filter.allow({SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk)});
  // clone3 hides its flags from a filter; without it glibc takes clone.
  filter.refuse(ENOSYS, {SCMP_SYS(clone3)});
  filter.allow_if(SCMP_SYS(clone), {has(0, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND)});
  filter.allow({SCMP_SYS(futex),
                SCMP_SYS(set_robust_list),
                SCMP_SYS(rseq),
                SCMP_SYS(rt_sigaction),
                SCMP_SYS(rt_sigprocmask),
                SCMP_SYS(rt_sigreturn),
                SCMP_SYS(sigaltstack),
                SCMP_SYS(sched_yield),
                SCMP_SYS(sched_getaffinity),
                SCMP_SYS(restart_syscall),
                SCMP_SYS(exit),
                SCMP_SYS(exit_group),
                SCMP_SYS(getpid),
                SCMP_SYS(gettid),
                SCMP_SYS(tgkill),
                SCMP_SYS(clock_gettime),
                SCMP_SYS(clock_nanosleep),
                SCMP_SYS(nanosleep),
                SCMP_SYS(gettimeofday),
                SCMP_SYS(getrandom),
                SCMP_SYS(sysinfo),
                SCMP_SYS(fstat),
                SCMP_SYS(lseek),
                SCMP_SYS(getuid),
                SCMP_SYS(geteuid),
                SCMP_SYS(getgid),
                SCMP_SYS(getegid)});
}

constexpr std::initializer_list<int> files_in = {
    SCMP_SYS(openat),    SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(faccessat), SCMP_SYS(readlinkat), SCMP_SYS(faccessat2),
#ifdef __x86_64__
    SCMP_SYS(open),      SCMP_SYS(stat),       SCMP_SYS(lstat),
    SCMP_SYS(access),    SCMP_SYS(readlink),
#endif
};

/// libpq finds its server by name or by a socket's path, and looks for files that may be there.
void allow_database(Filter& filter) {
  filter.allow(files_in);
  filter.allow_if(SCMP_SYS(socket), {equals(0, AF_UNIX)});
  filter.allow_if(SCMP_SYS(socket), {equals(0, AF_NETLINK)});  // getaddrinfo: the host's addresses
  // Its resolver's, which also sorts a name's addresses by them.
  for (const std::uint64_t family : {std::uint64_t{AF_INET}, std::uint64_t{AF_INET6}})
    filter.allow_if(SCMP_SYS(socket),
                    {equals(0, family), {1, SCMP_CMP_MASKED_EQ, 0xf, SOCK_DGRAM}, equals(2, 0)});
  filter.allow_if(SCMP_SYS(socketpair), {equals(0, AF_UNIX)});
  filter.allow_if(SCMP_SYS(ioctl), {equals(1, FIONREAD)});
  allow_options(filter, SOL_SOCKET, {SO_KEEPALIVE});
  allow_options(filter, IPPROTO_TCP, {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT});
  allow_options(filter, IPPROTO_IP, {IP_RECVERR});
  allow_options(filter, IPPROTO_IPV6, {IPV6_RECVERR});
  filter.allow({SCMP_SYS(getdents64), SCMP_SYS(uname), SCMP_SYS(pread64), SCMP_SYS(fadvise64),
                SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigtimedwait)});
}

}  // namespace

void enter_sandbox(FileAccess files) {
  limit(RLIMIT_CORE, no_core_dump);
  if (sanitized) return;
  limit(RLIMIT_NPROC, most_threads);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot give up privileges");
  // Its own /proc/self/fd would be root's too.
  if (files == FileAccess::none) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  close_files(files);
  Filter filter;
  allow_data_path(filter);
  allow_runtime(filter);
  if (files == FileAccess::read)
    allow_database(filter);
  else
    filter.refuse(EACCES, files_in);
  filter.load();
}

}  // namespace tunorch::worker
