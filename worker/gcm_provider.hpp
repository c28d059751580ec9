// AES-128-GCM for OpenSSL by a library that uses the CPU's wide vectors (VAES, AVX-512), which
// OpenSSL 3.0 does not: Intel's ipsec-mb. As a provider of OpenSSL (provider(7)), so that TLS stays
// OpenSSL's.
#pragma once

namespace tunorch::worker {

/// Makes it known to OpenSSL, once. Returns the property query by which it is preferred where there
/// is a choice; null where this CPU has no such vectors, and OpenSSL's own is as good.
const char* load_gcm_provider();

}  // namespace tunorch::worker
