/** The data of the seccomp profile (seccomp.ts): kernel calls by name, for x86-64 and arm64. */

/**
 * What programs need: files, memory, processes, signals, time, sockets, and looking at one's own
 * processes.
 */
export const allowedCalls: readonly string[] = words(`
  accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod
  chown chroot clock_getres clock_gettime clock_nanosleep close close_range connect
  copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
  epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
  fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync
  fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex
  futex_requeue futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list
  get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
  getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
  getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr
  getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
  io_getevents io_pgetevents io_setup io_submit ioctl ioprio_get ioprio_set kcmp kill
  landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
  listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise
  map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
  mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
  mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall
  munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_getfd
  pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl
  pread64 preadv preadv2 prlimit64 process_madvise process_mrelease process_vm_readv
  process_vm_writev pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink
  readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr removexattrat rename
  renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
  rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
  sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
  sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
  sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile
  sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area
  set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid
  setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr setxattrat shmat
  shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs
  statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
  timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
  timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork
  vmsplice wait4 waitid write writev
`);

/**
 * What exists and is refused, as it would be to an unprivileged user of an ordinary machine: the
 * calls that mount, load code into the kernel, look at or tune the machine, or reach kernel objects
 * that are not namespaced (keys, events, handles).
 */
export const deniedCalls: readonly string[] = words(`
  acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init fanotify_mark
  finit_module fsconfig fsmount fsopen fspick init_module ioperm iopl kexec_file_load
  kexec_load keyctl lookup_dcookie migrate_pages mount mount_setattr move_mount move_pages
  open_by_handle_at open_tree perf_event_open pivot_root quotactl quotactl_fd reboot
  request_key setdomainname sethostname setns settimeofday swapoff swapon syslog umount2
  userfaultfd vhangup
`);

/** Flags of clone(2) and unshare(2) that ask for a namespace. */
export const namespaceFlags: readonly number[] = [
  0x0002_0000, // CLONE_NEWNS
  0x0200_0000, // CLONE_NEWCGROUP
  0x0400_0000, // CLONE_NEWUTS
  0x0800_0000, // CLONE_NEWIPC
  0x1000_0000, // CLONE_NEWUSER
  0x2000_0000, // CLONE_NEWPID
  0x4000_0000, // CLONE_NEWNET
];

/** CLONE_NEWTIME: a flag of unshare(2) only; in clone(2) the same bit is part of the exit signal. */
export const timeNamespaceFlag = 0x80;

/** Unix, IPv4, IPv6, netlink and packet sockets; the last ask for a capability besides. */
export const allowedSocketFamilies: readonly number[] = [1, 2, 10, 16, 17];

/** ADDR_NO_RANDOMIZE (debuggers), UNAME26, 32-bit addresses, their sum, and the question what is set. */
export const allowedPersonalities: readonly number[] = [
  0x0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff,
];

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
