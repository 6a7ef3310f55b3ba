#!/bin/busybox sh
# The first process of an L1: prepares the machine, then runs the scripts the rig sends over its channel.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=vt100
mkdir -p /proc /sys /dev /tmp /run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
# Guest RAM is a memfd: without this it would come in pages of 4 KiB, each a fault of its own.
echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ip link set lo up 2>/dev/null
ulimit -l unlimited

for module in $(cat /modules/order 2>/dev/null); do
    insmod "/modules/$module.ko" || echo "rig: cannot load $module"
done

. /lib/rig.sh

if grep -qw rig.shell /proc/cmdline; then
    echo 6 >/proc/sys/kernel/printk
    for bdf in $(sed -n 's/.*rig.bind=\([^ ]*\).*/\1/p' /proc/cmdline | tr , ' '); do
        bind_vfio "$bdf" && echo "$bdf is bound to vfio-pci (group $(group_of "$bdf"))"
    done
    [ -e /bin/portcullis ] && cat <<END
Try: portcullis run --kernel /guest/kernel --initrd /guest/initrd --cmdline "console=ttyS0 intel_iommu=on" --vfio BDF
END
    echo "Ctrl-A x ends this machine."
    setsid cttyhack sh -l
    poweroff -f
fi

# The channel is the virtio-serial port named "rig". A request is one line, `NONCE SECONDS SCRIPT-IN-BASE64`; the answer
# is the script's output followed by `NONCE EXIT-STATUS` on a line of its own.
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = rig ] && channel=/dev/$(basename "$port")
done
[ -n "$channel" ] || { echo "rig: no channel"; poweroff -f; }
[ -x /bin/agent ] && agent nudge &
exec 3<>"$channel"
echo ready >&3
while read -r nonce seconds script <&3; do
    echo "$script" | base64 -d >/run/job.sh
    timeout -s TERM -k 3 "$seconds" sh -c '. /lib/rig.sh; . /run/job.sh' </dev/null >&3 2>&3 3<&-
    status=$?
    printf '\n%s %d\n' "$nonce" "$status" >&3
done
poweroff -f
