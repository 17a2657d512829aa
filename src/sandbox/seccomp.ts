/**
 * The seccomp profile of every container: an allow list. A call that is in no list fails with
 * ENOSYS, as on a kernel that does not have it: libraries probe for new calls, take ENOSYS for
 * "fall back" and EPERM for a failure, so a kernel newer than this list breaks nothing. Calls that
 * are known and privileged fail with EPERM instead, which is what their callers report well.
 *
 * clone3 passes its flags in memory, where a filter cannot look: it is one of those that "do not
 * exist", and libc then calls clone, whose flags are checked. A new user namespace would bring all
 * capabilities over kernel code that is closed here. io_uring stays out as well: its operations
 * pass by this filter.
 */
import { arch } from "node:process";

import {
  allowedCalls,
  allowedPersonalities,
  allowedSocketFamilies,
  deniedCalls,
  namespaceFlags,
  timeNamespaceFlag,
} from "./seccomp-names.ts";

interface Condition {
  index: number;
  op: "SCMP_CMP_EQ" | "SCMP_CMP_GE" | "SCMP_CMP_MASKED_EQ";
  value: number;
  valueTwo?: number;
}

interface Rule {
  names: readonly string[];
  action: "SCMP_ACT_ALLOW" | "SCMP_ACT_ERRNO";
  errnoRet?: number;
  args?: readonly Condition[];
}

export interface SeccompProfile {
  defaultAction: "SCMP_ACT_ERRNO";
  defaultErrnoRet: number;
  /**
   * The machine's own only: a program of another word size would reach the kernel's rarely used
   * compatibility layer.
   */
  architectures: readonly string[];
  syscalls: readonly Rule[];
}

const errors = { notPermitted: 1, noSuchCall: 38, familyNotSupported: 97 };

/** Families from here on are refused without being listed one by one. */
const socketFamilyEnd = 18;

export function seccompProfile(): SeccompProfile {
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: errors.noSuchCall,
    architectures: [arch === "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64"],
    syscalls: [
      { names: allowedCalls, action: "SCMP_ACT_ALLOW" },
      { names: deniedCalls, action: "SCMP_ACT_ERRNO", errnoRet: errors.notPermitted },
      ...withoutFlags("clone", namespaceFlags),
      ...withoutFlags("unshare", [...namespaceFlags, timeNamespaceFlag]),
      ...socketRules(),
      // The kernel looks at the lower half of the argument only.
      ...allowedPersonalities.map((valueTwo) =>
        allow("personality", { index: 0, op: "SCMP_CMP_MASKED_EQ", value: 0xffff_ffff, valueTwo }),
      ),
    ],
  };
}

/** Allows the call with none of the flags in its first argument, and refuses it with any of them. */
function withoutFlags(name: string, flags: readonly number[]): Rule[] {
  const value = flags.reduce((all, flag) => all | flag, 0);
  return [
    allow(name, { index: 0, op: "SCMP_CMP_MASKED_EQ", value, valueTwo: 0 }),
    ...flags.map((flag) =>
      refuse(name, errors.notPermitted, {
        index: 0,
        op: "SCMP_CMP_MASKED_EQ",
        value: flag,
        valueTwo: flag,
      }),
    ),
  ];
}

/** Rare families autoload rarely tested kernel code; vsock would reach the machine's own host. */
function socketRules(): Rule[] {
  const rules: Rule[] = [];
  for (let value = 0; value < socketFamilyEnd; value++) {
    const condition: Condition = { index: 0, op: "SCMP_CMP_EQ", value };
    const isAllowed = allowedSocketFamilies.includes(value);
    rules.push(
      isAllowed
        ? allow("socket", condition)
        : refuse("socket", errors.familyNotSupported, condition),
    );
  }
  rules.push(
    refuse("socket", errors.familyNotSupported, {
      index: 0,
      op: "SCMP_CMP_GE",
      value: socketFamilyEnd,
    }),
  );
  return rules;
}

function allow(name: string, condition: Condition): Rule {
  return { names: [name], action: "SCMP_ACT_ALLOW", args: [condition] };
}

function refuse(name: string, errnoRet: number, condition: Condition): Rule {
  return { names: [name], action: "SCMP_ACT_ERRNO", errnoRet, args: [condition] };
}
