#include "routing/steering.hpp"

#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <system_error>
#include <vector>

namespace tunorch::routing {
namespace {

enum Register : std::uint8_t {
  result = BPF_REG_0,   // of a load from the packet; the next load clobbers 1 to 5
  context = BPF_REG_6,  // where loads from the packet expect it
  hash = BPF_REG_7,
  left = BPF_REG_8,   // source address, then source port
  right = BPF_REG_9,  // destination address, then destination port
  sum = BPF_REG_1,
  scratch = BPF_REG_2,
};

/// Kept on the stack across loads.
enum Slot : std::int16_t { protocol = -8, ports_at = -16 };

constexpr std::int32_t tcp = 6, udp = 17;

/// Writes instructions down and knows where its labels are. All arithmetic is of 32 bits.
class Program {
 public:
  void operation(int op, Register to, Register from) { add(BPF_ALU | op | BPF_X, to, from, 0, 0); }
  void operation(int op, Register to, std::uint32_t value) {
    add(BPF_ALU | op | BPF_K, to, 0, 0, static_cast<std::int32_t>(value));
  }
  void keep_context() { add(BPF_ALU64 | BPF_MOV | BPF_X, context, BPF_REG_1, 0, 0); }
  /// From the packet at a fixed offset, in host order; beyond its end the program returns 0.
  void load(int size, std::int32_t offset) { add(BPF_LD | BPF_ABS | size, 0, 0, 0, offset); }
  void load_at(int size, Register base, std::int32_t offset) {
    add(BPF_LD | BPF_IND | size, 0, base, 0, offset);
  }
  void store(Slot slot, Register from) {
    add(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, from, slot, 0);
  }
  void restore(Register to, Slot slot) { add(BPF_LDX | BPF_MEM | BPF_DW, to, BPF_REG_10, slot, 0); }
  void jump(const std::string& label) { jump_if(BPF_JA, result, 0, label); }
  void jump_if(int comparison, Register what, std::int32_t value, const std::string& label) {
    jumps_.emplace_back(code_.size(), label);
    add(BPF_JMP | comparison | BPF_K, comparison == BPF_JA ? 0 : what, 0, 0, value);
  }
  void label(const std::string& name) { labels_[name] = code_.size(); }
  void exit() { add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

  std::vector<bpf_insn> finished() {
    for (const auto& [from, label] : jumps_)
      code_[from].off = static_cast<std::int16_t>(labels_.at(label) - from - 1);
    return code_;
  }

 private:
  void add(int code, std::uint8_t to, std::uint8_t from, std::int16_t offset, std::int32_t value) {
    bpf_insn instruction{};
    instruction.code = static_cast<std::uint8_t>(code);
    instruction.dst_reg = to & 15u;
    instruction.src_reg = from & 15u;
    instruction.off = offset;
    instruction.imm = value;
    code_.push_back(instruction);
  }

  std::vector<bpf_insn> code_;
  std::vector<std::pair<std::size_t, std::string>> jumps_;
  std::map<std::string, std::size_t> labels_;
};

/// hash = (hash + (left ^ right)) * a + (left + right) * b: the same with the ends exchanged.
void mix_pair(Program& program) {
  program.operation(BPF_MOV, sum, left);
  program.operation(BPF_ADD, sum, right);
  program.operation(BPF_MUL, sum, 0x85ebca6bu);
  program.operation(BPF_XOR, left, right);
  program.operation(BPF_ADD, hash, left);
  program.operation(BPF_MUL, hash, 0x9e3779b1u);
  program.operation(BPF_ADD, hash, sum);
}

/// An IPv6 address in one word: each of its words multiplied in.
void load_address6(Program& program, Register to, std::int32_t offset) {
  program.operation(BPF_MOV, to, 0u);
  for (std::int32_t word = 0; word < 16; word += 4) {
    program.load(BPF_W, offset + word);
    program.operation(BPF_MUL, to, 0xc2b2ae35u);
    program.operation(BPF_XOR, to, result);
  }
}

std::vector<bpf_insn> flow_program() {
  Program program;
  program.keep_context();
  program.operation(BPF_MOV, hash, 0u);
  program.load(BPF_B, 0);
  program.operation(BPF_MOV, scratch, result);
  program.operation(BPF_RSH, scratch, 4u);
  program.jump_if(BPF_JEQ, scratch, 6, "ipv6");
  program.jump_if(BPF_JNE, scratch, 4, "neither");

  program.operation(BPF_AND, result, 15u);
  program.operation(BPF_LSH, result, 2u);
  program.store(ports_at, result);
  program.load(BPF_B, 9);
  program.store(protocol, result);
  program.load(BPF_W, 12);
  program.operation(BPF_MOV, left, result);
  program.load(BPF_W, 16);
  program.operation(BPF_MOV, right, result);
  mix_pair(program);
  program.load(BPF_H, 6);
  program.operation(BPF_AND, result, 0x3fffu);  // a fragment: the ports are in the first one only
  program.jump_if(BPF_JNE, result, 0, "finish");
  program.jump("ports");

  program.label("ipv6");
  program.operation(BPF_MOV, result, 40u);
  program.store(ports_at, result);
  program.load(BPF_B, 6);
  program.store(protocol, result);
  load_address6(program, left, 8);
  load_address6(program, right, 24);
  mix_pair(program);

  program.label("ports");
  program.restore(scratch, protocol);
  program.jump_if(BPF_JEQ, scratch, tcp, "load ports");
  program.jump_if(BPF_JNE, scratch, udp, "finish");
  program.label("load ports");
  program.restore(left, ports_at);
  program.load_at(BPF_H, left, 2);
  program.operation(BPF_MOV, right, result);
  program.load_at(BPF_H, left, 0);
  program.operation(BPF_MOV, left, result);
  mix_pair(program);

  program.label("finish");
  program.restore(scratch, protocol);
  program.operation(BPF_ADD, hash, scratch);
  program.operation(BPF_MOV, result, hash);
  program.operation(BPF_RSH, result, 15u);
  program.operation(BPF_XOR, result, hash);
  program.operation(BPF_MUL, result, 0x27d4eb2fu);
  program.operation(BPF_RSH, result, 16u);
  program.exit();

  program.label("neither");
  program.operation(BPF_MOV, result, 0u);
  program.exit();
  return program.finished();
}

}  // namespace

Fd load_steering() {
  const std::vector<bpf_insn> code = flow_program();
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  load.insns = reinterpret_cast<std::uintptr_t>(code.data());
  load.insn_cnt = static_cast<std::uint32_t>(code.size());
  load.license = reinterpret_cast<std::uintptr_t>("GPL");
  Fd program(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load)));
  if (!program.valid())
    throw std::system_error(errno, std::generic_category(), "cannot load the steering program");
  return program;
}

void set_steering(const Fd& queue, const Fd& program) {
  int fd = program.get();
  if (::ioctl(queue.get(), TUNSETSTEERINGEBPF, &fd) < 0)
    throw std::system_error(errno, std::generic_category(), "cannot have the TUN steer by flow");
}

}  // namespace tunorch::routing
