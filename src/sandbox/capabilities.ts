/**
 * The capabilities of root inside: what package managers, sudo and servers need of the sprite's own
 * files, users and network, all of it within its own user namespace. Absent on purpose: everything
 * that mounts, traces across users, loads code into the kernel or changes the network's addresses,
 * for these reach kernel code that a shared kernel should not offer.
 */
export const containerCapabilities: readonly string[] = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];
