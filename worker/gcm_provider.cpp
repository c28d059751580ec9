#include "worker/gcm_provider.hpp"

#ifdef __x86_64__

#include <intel-ipsec-mb.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace tunorch::worker {
namespace {

constexpr std::size_t key_bytes = 16, iv_bytes = 12, tag_bytes = 16;
/// TLS 1.3 has five, a record's header (RFC 8446, section 5.2).
constexpr std::size_t max_aad_bytes = 64;

/// Its functions for GCM keep nothing here: all threads use the one.
const IMB_MGR* library = nullptr;

/// One direction of one connection. A tag is asked for, and one given, between the calls.
struct alignas(64) Gcm {
  gcm_key_data key;
  gcm_context_data state;
  std::array<std::uint8_t, iv_bytes> iv;
  std::array<std::uint8_t, max_aad_bytes> aad;
  std::array<std::uint8_t, tag_bytes> tag;
  std::size_t aad_size;
  bool encrypts, has_key, has_iv, has_tag, begun;
};

void* make(void*) {
  auto* gcm = new (std::nothrow) Gcm;
  if (gcm) std::memset(static_cast<void*>(gcm), 0, sizeof *gcm);
  return gcm;
}

void destroy(void* context) {
  auto* gcm = static_cast<Gcm*>(context);
  if (gcm) OPENSSL_cleanse(gcm, sizeof *gcm);
  delete gcm;
}

int set_params(void* context, const OSSL_PARAM* params) {
  auto* gcm = static_cast<Gcm*>(context);
  std::size_t size = 0;
  if (const OSSL_PARAM* param = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_IVLEN))
    if (!OSSL_PARAM_get_size_t(param, &size) || size != iv_bytes) return 0;
  if (const OSSL_PARAM* param = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_KEYLEN))
    if (!OSSL_PARAM_get_size_t(param, &size) || size != key_bytes) return 0;
  if (const OSSL_PARAM* param = OSSL_PARAM_locate_const(params, OSSL_CIPHER_PARAM_AEAD_TAG)) {
    if (param->data_size != tag_bytes) return 0;
    if (param->data) {
      if (gcm->encrypts) return 0;
      std::memcpy(gcm->tag.data(), param->data, tag_bytes);
      gcm->has_tag = true;
    }
  }
  return 1;
}

int start(void* context, bool encrypts, const std::uint8_t* key, std::size_t key_size,
          const std::uint8_t* iv, std::size_t iv_size, const OSSL_PARAM* params) {
  auto* gcm = static_cast<Gcm*>(context);
  gcm->encrypts = encrypts;
  gcm->begun = gcm->has_tag = false;
  gcm->aad_size = 0;
  if (key) {
    if (key_size != key_bytes) return 0;
    IMB_AES128_GCM_PRE(library, key, &gcm->key);
    gcm->has_key = true;
  }
  if (iv) {
    if (iv_size != iv_bytes) return 0;
    std::memcpy(gcm->iv.data(), iv, iv_bytes);
    gcm->has_iv = true;
  }
  return set_params(context, params);
}

int start_encrypting(void* context, const std::uint8_t* key, std::size_t key_size,
                     const std::uint8_t* iv, std::size_t iv_size, const OSSL_PARAM* params) {
  return start(context, true, key, key_size, iv, iv_size, params);
}

int start_decrypting(void* context, const std::uint8_t* key, std::size_t key_size,
                     const std::uint8_t* iv, std::size_t iv_size, const OSSL_PARAM* params) {
  return start(context, false, key, key_size, iv, iv_size, params);
}

/// An IV serves once: with a second message under it the key would be lost.
bool begin(Gcm& gcm) {
  if (gcm.begun) return true;
  if (!gcm.has_key || !gcm.has_iv) return false;
  IMB_AES128_GCM_INIT(library, &gcm.key, &gcm.state, gcm.iv.data(), gcm.aad.data(), gcm.aad_size);
  gcm.has_iv = false;
  gcm.begun = true;
  return true;
}

/// Without `out` it is additional data, all of which comes first.
int update(void* context, std::uint8_t* out, std::size_t* out_size, std::size_t room,
           const std::uint8_t* in, std::size_t size) {
  auto* gcm = static_cast<Gcm*>(context);
  *out_size = size;
  if (!out) {
    if (gcm->begun || size > max_aad_bytes - gcm->aad_size) return 0;
    std::copy_n(in, size, gcm->aad.data() + gcm->aad_size);
    gcm->aad_size += size;
    return 1;
  }
  if (size > room || !begin(*gcm)) return 0;
  if (gcm->encrypts)
    IMB_AES128_GCM_ENC_UPDATE(library, &gcm->key, &gcm->state, out, in, size);
  else
    IMB_AES128_GCM_DEC_UPDATE(library, &gcm->key, &gcm->state, out, in, size);
  return 1;
}

int finish(void* context, std::uint8_t*, std::size_t* out_size, std::size_t) {
  auto* gcm = static_cast<Gcm*>(context);
  *out_size = 0;
  if (!begin(*gcm)) return 0;
  gcm->begun = false;
  if (gcm->encrypts) {
    IMB_AES128_GCM_ENC_FINALIZE(library, &gcm->key, &gcm->state, gcm->tag.data(), tag_bytes);
    gcm->has_tag = true;
    return 1;
  }
  if (!gcm->has_tag) return 0;
  std::array<std::uint8_t, tag_bytes> own;
  IMB_AES128_GCM_DEC_FINALIZE(library, &gcm->key, &gcm->state, own.data(), tag_bytes);
  return CRYPTO_memcmp(own.data(), gcm->tag.data(), tag_bytes) == 0;
}

int get_params(OSSL_PARAM* params) {
  const auto set = [params](const char* name, std::size_t value) {
    OSSL_PARAM* param = OSSL_PARAM_locate(params, name);
    return !param || OSSL_PARAM_set_size_t(param, value) == 1;
  };
  const auto set_int = [params](const char* name, int value) {
    OSSL_PARAM* param = OSSL_PARAM_locate(params, name);
    return !param || OSSL_PARAM_set_int(param, value) == 1;
  };
  OSSL_PARAM* mode = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_MODE);
  if (mode && !OSSL_PARAM_set_uint(mode, EVP_CIPH_GCM_MODE)) return 0;
  return set(OSSL_CIPHER_PARAM_KEYLEN, key_bytes) && set(OSSL_CIPHER_PARAM_IVLEN, iv_bytes) &&
         set(OSSL_CIPHER_PARAM_BLOCK_SIZE, 1) && set_int(OSSL_CIPHER_PARAM_AEAD, 1) &&
         set_int(OSSL_CIPHER_PARAM_CUSTOM_IV, 1);
}

int get_context_params(void* context, OSSL_PARAM* params) {
  const auto* gcm = static_cast<const Gcm*>(context);
  if (OSSL_PARAM* param = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_IVLEN))
    if (!OSSL_PARAM_set_size_t(param, iv_bytes)) return 0;
  if (OSSL_PARAM* param = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_KEYLEN))
    if (!OSSL_PARAM_set_size_t(param, key_bytes)) return 0;
  if (OSSL_PARAM* param = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_AEAD_TAGLEN))
    if (!OSSL_PARAM_set_size_t(param, tag_bytes)) return 0;
  if (OSSL_PARAM* param = OSSL_PARAM_locate(params, OSSL_CIPHER_PARAM_AEAD_TAG))
    if (!gcm->encrypts || !gcm->has_tag ||
        !OSSL_PARAM_set_octet_string(param, gcm->tag.data(), tag_bytes))
      return 0;
  return 1;
}

template <class Function>
OSSL_DISPATCH entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  static const OSSL_DISPATCH functions[] = {
      entry(OSSL_FUNC_CIPHER_NEWCTX, make),
      entry(OSSL_FUNC_CIPHER_FREECTX, destroy),
      entry(OSSL_FUNC_CIPHER_ENCRYPT_INIT, start_encrypting),
      entry(OSSL_FUNC_CIPHER_DECRYPT_INIT, start_decrypting),
      entry(OSSL_FUNC_CIPHER_UPDATE, update),
      entry(OSSL_FUNC_CIPHER_FINAL, finish),
      entry(OSSL_FUNC_CIPHER_GET_PARAMS, get_params),
      entry(OSSL_FUNC_CIPHER_GET_CTX_PARAMS, get_context_params),
      entry(OSSL_FUNC_CIPHER_SET_CTX_PARAMS, set_params),
      {0, nullptr}};
  static const OSSL_ALGORITHM ciphers[] = {
      {"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6", "provider=tunorch", functions,
       "AES-128-GCM by ipsec-mb"},
      {nullptr, nullptr, nullptr, nullptr}};
  *no_cache = 0;
  return operation == OSSL_OP_CIPHER ? ciphers : nullptr;
}

int init(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** out, void** context) {
  static const OSSL_DISPATCH functions[] = {entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query),
                                            {0, nullptr}};
  *out = functions;
  *context = nullptr;  // nothing to keep
  return 1;
}

/// Handed back before OpenSSL's own clean-up, which would lose them: that is registered first.
struct Loaded {
  std::vector<OSSL_PROVIDER*> providers;

  Loaded() { OPENSSL_init_crypto(OPENSSL_INIT_ADD_ALL_CIPHERS, nullptr); }
  ~Loaded() {
    for (OSSL_PROVIDER* provider : providers) OSSL_PROVIDER_unload(provider);
  }
  bool add(const char* name) {
    OSSL_PROVIDER* provider = OSSL_PROVIDER_load(nullptr, name);
    if (provider) providers.push_back(provider);
    return provider != nullptr;
  }
};

bool load(Loaded& loaded) {
  constexpr std::uint64_t vectors =
      IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AVX512_SKX;
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (!manager) return false;
  if ((manager->features & vectors) == vectors) {
    init_mb_mgr_avx512(manager);
    library = manager;
  }
  // With one that is loaded by hand, OpenSSL's own is no longer loaded by itself.
  if (library && imb_get_errno(manager) == 0 &&
      OSSL_PROVIDER_add_builtin(nullptr, "tunorch", init) == 1 && loaded.add("default") &&
      loaded.add("tunorch"))
    return true;
  library = nullptr;
  free_mb_mgr(manager);
  return false;
}

}  // namespace

const char* load_gcm_provider() {
  static Loaded providers;
  static const bool loaded = load(providers);
  return loaded ? "?provider=tunorch" : nullptr;
}

}  // namespace tunorch::worker

#else

namespace tunorch::worker {

const char* load_gcm_provider() {
  return nullptr;
}

}  // namespace tunorch::worker

#endif
