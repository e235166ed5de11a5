//! A terminal for programs that want one: a pseudo-terminal driven by a few lines of Python in the world.

/// `python3 ANSWERS TEXT=KEYS .. -- COMMAND..`: runs the command at a terminal, and when it has written TEXT, types KEYS and
/// a newline, one pair after the other. Copies the output to stdout, and ends as the command did.
pub const ANSWERS: &str = r#"
import os, pty, select, sys, time

split = sys.argv.index("--")
pairs, command = [it.split("=", 1) for it in sys.argv[1:split]], sys.argv[split + 1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, deadline = b"", time.monotonic() + 40
while True:
    if select.select([terminal], [], [], 0.02)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        seen += data
    if pairs and pairs[0][0].encode() in seen:
        text, keys = pairs.pop(0)
        seen = seen.split(text.encode(), 1)[1]
        if keys:
            os.write(terminal, keys.encode() + b"\n")
    if time.monotonic() > deadline:
        sys.exit("the command did not end")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"#;

/// `python3 DRIVER FILE KEYS COMMAND..`: runs the command at a terminal of 40 by 100, waits until FILE exists, types
/// KEYS, copies the output to stdout, and ends as the command did. An empty FILE means not to wait.
pub const DRIVER: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time

ready, keys, command = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode(), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
deadline = time.monotonic() + 30
typed = False
while True:
    readable, _, _ = select.select([terminal], [], [], 0.02)
    if readable:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    if not typed and (not ready or os.path.exists(ready)):
        os.write(terminal, keys)
        typed = True
    if time.monotonic() > deadline:
        sys.exit("the command did not end")
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"#;
