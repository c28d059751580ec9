#include "worker/gcm_provider.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/owned.hpp"

namespace tunorch::worker {
namespace {

using Bytes = std::vector<std::uint8_t>;

using Cipher = Owned<EVP_CIPHER, EVP_CIPHER_free>;
using Context = Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

Bytes counted(std::size_t size, std::uint8_t from) {
  Bytes bytes(size);
  for (auto& byte : bytes) byte = from++;
  return bytes;
}

struct Sealed {
  Bytes text, tag;
  bool operator==(const Sealed&) const = default;
};

/// The way TLS takes: the key once, then a nonce, additional data and one text for each record.
class Gcm {
 public:
  Gcm(const char* properties, bool encrypts)
      : cipher_(EVP_CIPHER_fetch(nullptr, "AES-128-GCM", properties)),
        context_(EVP_CIPHER_CTX_new()),
        encrypts_(encrypts) {
    const Bytes key = counted(16, 40);
    EXPECT_EQ(EVP_CipherInit_ex(context_.get(), cipher_.get(), nullptr, nullptr, nullptr, encrypts),
              1);
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_IVLEN, 12, nullptr), 1);
    EXPECT_EQ(EVP_CipherInit_ex(context_.get(), nullptr, nullptr, key.data(), nullptr, -1), 1);
  }

  std::string provider() const {
    return OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher_.get()));
  }
  bool nonce(std::uint8_t number) {
    const Bytes iv = counted(12, number);
    return EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr, iv.data(), encrypts_) == 1;
  }
  bool add(const Bytes& bytes) {
    int size = 0;
    return EVP_CipherUpdate(context_.get(), nullptr, &size, bytes.data(),
                            static_cast<int>(bytes.size())) == 1;
  }
  /// In place, `piece` bytes a call.
  bool text(Bytes& bytes, std::size_t piece) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      int size = 0;
      const int now = static_cast<int>(std::min(piece, bytes.size() - at));
      if (EVP_CipherUpdate(context_.get(), &bytes[at], &size, &bytes[at], now) != 1 || size != now)
        return false;
    }
    return true;
  }
  bool finish() {
    std::uint8_t none[16];
    int size = 0;
    return EVP_CipherFinal_ex(context_.get(), none, &size) == 1 && size == 0;
  }
  Bytes tag() {
    Bytes bytes(16);
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, 16, bytes.data()), 1);
    return bytes;
  }

  Sealed seal(Bytes bytes, std::uint8_t number, std::size_t piece = 1u << 20) {
    EXPECT_TRUE(nonce(number) && add(counted(5, 1)) && text(bytes, piece) && finish());
    return {bytes, tag()};
  }
  std::optional<Bytes> open(Sealed sealed, std::uint8_t number, std::size_t piece = 1u << 20) {
    EXPECT_TRUE(nonce(number));
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, 16, sealed.tag.data()), 1);
    EXPECT_TRUE(add(counted(5, 1)) && text(sealed.text, piece));
    return finish() ? std::optional(sealed.text) : std::nullopt;
  }

 private:
  Cipher cipher_;
  Context context_;
  int encrypts_;
};

class GcmProvider : public testing::Test {
 protected:
  /// Where the CPU has no vectors for it, both are OpenSSL's own.
  const char* ours = load_gcm_provider();
  const char* theirs = "provider=default";
};

TEST_F(GcmProvider, IsPreferredWhereItIsLoaded) {
  EXPECT_EQ(Gcm(ours, true).provider(), ours ? "tunorch" : "default");
  EXPECT_EQ(Gcm(theirs, true).provider(), "default");
  const Cipher other(EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", ours));
  EXPECT_TRUE(other) << "what it has not comes from OpenSSL's own";
}

TEST_F(GcmProvider, SealsAndOpensAsOpenSslDoes) {
  Gcm sealer(ours, true), opener(ours, false), their_sealer(theirs, true);
  std::uint8_t number = 0;
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 255u, 256u, 1409u, 16384u, 65551u})
    for (const std::size_t piece : {1u << 20, 1000u, 7u}) {
      ++number;
      const Bytes text = counted(size, number);
      const Sealed sealed = sealer.seal(text, number, piece);
      EXPECT_EQ(sealed, their_sealer.seal(text, number))
          << size << " bytes, " << piece << " a call";
      EXPECT_EQ(opener.open(sealed, number, piece), text)
          << size << " bytes, " << piece << " a call";
    }
}

TEST_F(GcmProvider, RefusesWhatWasChanged) {
  Gcm sealer(ours, true), opener(ours, false);
  const Bytes text = counted(1000, 3);
  const Sealed sealed = sealer.seal(text, 1);
  for (const std::size_t at : {0u, 500u, 999u}) {
    Sealed changed = sealed;
    changed.text[at] ^= 1;
    EXPECT_FALSE(opener.open(changed, 1)) << at;
  }
  for (const std::size_t at : {0u, 15u}) {
    Sealed changed = sealed;
    changed.tag[at] ^= 0x80;
    EXPECT_FALSE(opener.open(changed, 1)) << at;
  }
  EXPECT_FALSE(opener.open(sealed, 2)) << "another nonce";
  EXPECT_EQ(opener.open(sealed, 1), text) << "and goes on";
}

TEST_F(GcmProvider, RefusesASecondTextUnderOneNonce) {
  Gcm sealer(ours, true);
  Bytes text = counted(100, 1);
  ASSERT_TRUE(sealer.nonce(1) && sealer.text(text, 100) && sealer.finish());
  EXPECT_FALSE(sealer.text(text, 100));
}

TEST_F(GcmProvider, RefusesToOpenWithoutATag) {
  Gcm sealer(ours, true), opener(ours, false);
  const Bytes text = counted(100, 1);
  const Sealed sealed = sealer.seal(text, 1);
  Bytes never_told = sealed.text;
  ASSERT_TRUE(opener.nonce(1) && opener.add(counted(5, 1)) && opener.text(never_told, 100));
  EXPECT_FALSE(opener.finish());
  ASSERT_EQ(opener.open(sealed, 1), text);
  Bytes again = sealed.text;
  ASSERT_TRUE(opener.nonce(1) && opener.add(counted(5, 1)) && opener.text(again, 100));
  EXPECT_EQ(opener.finish(), !ours) << "the tag of the one before, which OpenSSL's own keeps";
}

TEST_F(GcmProvider, RefusesOtherLengthsOfNonces) {
  const Cipher cipher(EVP_CIPHER_fetch(nullptr, "AES-128-GCM", ours));
  const Context context(EVP_CIPHER_CTX_new());
  ASSERT_EQ(EVP_CipherInit_ex(context.get(), cipher.get(), nullptr, nullptr, nullptr, 1), 1);
  EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_IVLEN, 16, nullptr),
            ours ? 0 : 1);  // OpenSSL's own takes them
}

}  // namespace
}  // namespace tunorch::worker
