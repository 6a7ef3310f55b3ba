# What scripts in an L1 may use.

# Gives the PCI functions named (0000:00:05.0 …) to vfio-pci, whatever drives them now.
bind_vfio() {
    for bdf; do
        device=/sys/bus/pci/devices/$bdf
        [ -e "$device" ] || { echo "rig: no device $bdf"; return 1; }
        echo vfio-pci >"$device/driver_override"
        [ -e "$device/driver" ] && echo "$bdf" >"$device/driver/unbind"
        echo "$bdf" >/sys/bus/pci/drivers_probe
        [ "$(basename "$(readlink "$device/driver")")" = vfio-pci ] || { echo "rig: $bdf is not bound"; return 1; }
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
