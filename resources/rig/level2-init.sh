#!/bin/busybox sh
# The first process of a guest: prepares it, runs /script, says how that ended, and powers the machine off.
# Lines for the rig begin with "@@".
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mkdir -p /proc /sys /dev /tmp /run
mount -t proc proc /proc
echo "@@ userspace $(cut -d' ' -f1 /proc/uptime)"
# From here on the console is ours: the kernel's messages are read from its log.
echo 1 >/proc/sys/kernel/printk
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
for module in $(cat /modules/order 2>/dev/null); do
    insmod "/modules/$module.ko" || echo "@@ cannot load $module"
done
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
. /lib/rig.sh
if [ -e /script ]; then
    (. /script)
    status=$?
else
    setsid cttyhack sh -l
    status=0
fi
echo "@@ kernel log"
# Warnings and worse, and what the tests look for: every byte on the console costs a guest exit or two.
dmesg -r | grep -iE '^<[0-4]>|DMAR|IOMMU|swiotlb|nvme|remap|x2apic|WARNING|BUG|smp:|Call Trace|soft lockup'
echo "@@ status $status"
sync
poweroff -f
