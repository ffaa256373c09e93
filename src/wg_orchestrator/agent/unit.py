"""A unit for systemd (systemd.service(5), systemd.exec(5))."""

from collections.abc import Sequence

_UNIT = """\
[Unit]
Description=WireGuard peer of {url}
Documentation=man:wg(8)
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={command}
{credential}Restart=on-failure
RestartSec=1
# 2 and 3: what it was told is wrong, or the service refuses it for good. Trying again would not help.
RestartPreventExitStatus=2 3
# A program that runs the interface in userspace outlives the agent, and so do the tunnels.
KillMode=process
DynamicUser=yes
StateDirectory=wg-orchestrator
StateDirectoryMode=0700
RuntimeDirectory=wireguard
RuntimeDirectoryPreserve=yes
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
DeviceAllow=/dev/net/tun rw
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(url: str, command: Sequence[str], invitation_file: str | None = None) -> str:
    """The text of a unit that runs this command. It needs the right to configure networks, and no other. If it is to
    show an invitation, systemd reads that from the file and gives it to the command, at each start.
    """
    words, credential = [_quoted(word) for word in command], ""
    if invitation_file is not None:
        words += ["--invitation-file", "%d/invitation"]
        credential = f"LoadCredential=invitation:{_escaped(invitation_file)}\n"
    return _UNIT.format(url=_escaped(url), command=" ".join(words), credential=credential)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    word = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{word}"' if not word or any(char in word for char in " \t'\"\\;") else word
