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

/**
 * Profile `minimal`: files, users and ports, so that sudo and package managers still work; no raw
 * packets, no device nodes, no other root directories, no capabilities put on files.
 */
export const minimalCapabilities: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_NET_BIND_SERVICE",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
];

/**
 * Profile `privileged`: all that acts on the sprite's own processes, files and memory. Mounting and
 * changing the network stay out also here, since the kernel is everybody's.
 */
export const privilegedCapabilities: readonly string[] = [
  ...containerCapabilities,
  "CAP_DAC_READ_SEARCH",
  "CAP_IPC_LOCK",
  "CAP_IPC_OWNER",
  "CAP_LEASE",
  "CAP_LINUX_IMMUTABLE",
  "CAP_SYS_NICE",
  "CAP_SYS_PTRACE",
  "CAP_SYS_RESOURCE",
];
