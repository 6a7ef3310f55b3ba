# What scripts in an L1 may use.

# Gives a PCI function (0000:00:05.0) to a driver, whatever drives it now.
drive() {
    device=/sys/bus/pci/devices/$1
    [ -e "$device" ] || { echo "rig: no device $1"; return 1; }
    echo "$2" >"$device/driver_override"
    [ -e "$device/driver" ] && echo "$1" >"$device/driver/unbind"
    echo "$1" >/sys/bus/pci/drivers_probe
    [ "$(basename "$(readlink "$device/driver")")" = "$2" ] || { echo "rig: $1 is not bound to $2"; return 1; }
}

# Gives PCI functions to vfio-pci.
bind_vfio() {
    for bdf; do
        drive "$bdf" vfio-pci || return 1
    done
}

# Takes the PCI functions named back from vfio-pci, for their usual driver.
unbind_vfio() {
    for bdf; do
        device=/sys/bus/pci/devices/$bdf
        echo >"$device/driver_override"
        [ -e "$device/driver" ] && echo "$bdf" >"$device/driver/unbind"
        echo "$bdf" >/sys/bus/pci/drivers_probe
    done
}

# The group of a PCI function.
group_of() {
    basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"
}
