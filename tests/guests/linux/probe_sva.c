// SPDX-License-Identifier: GPL-2.0
/*
 * Shared virtual addressing with the probe of Portcullis: who opens /dev/probe_sva has the device bound to his
 * address space, and has it carry out commands on plain pointers (devices/src/probe.rs documents the blocks).
 *
 * Kernels of version 7 turn PASIDs, ATS and page requests on by themselves.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#define BLOCK 0x80
#define COMMAND_SIZE 64
#define ANSWER_SIZE 64
#define FLAGS 1
#define PASID 2
#define WITH_PASID 1
#define STATUS 0x10
#define DOORBELL 0x18
#define DOORBELL_BLOCK 1
#define DOORBELL_STOP 4
/* What /dev/probe_sva can be asked for, each with a block. */
#define PROBE_SVA_RUN _IO('P', 0)
#define PROBE_SVA_START _IO('P', 1)
#define PROBE_SVA_FINISH _IO('P', 2)
/* The longest command the driver waits for, in microseconds. */
#define PATIENCE 30000000

static struct pci_dev *probe;
static void __iomem *registers;
static DEFINE_MUTEX(commands);

static int probe_sva_open(struct inode *inode, struct file *file)
{
	struct iommu_sva *bond = iommu_sva_bind_device(&probe->dev, current->mm);

	if (IS_ERR(bond))
		return PTR_ERR(bond);
	file->private_data = bond;
	return 0;
}

static int probe_sva_release(struct inode *inode, struct file *file)
{
	iommu_sva_unbind_device(file->private_data);
	return 0;
}

/* Starts the command of the block that user space points to, and fills in the PASID. */
static int probe_sva_start(struct file *file, void __user *block)
{
	u32 command[COMMAND_SIZE / 4];
	int i;

	if (copy_from_user(command, block, sizeof(command)))
		return -EFAULT;
	command[FLAGS] |= WITH_PASID;
	command[PASID] = iommu_sva_get_pasid(file->private_data);
	for (i = 0; i < COMMAND_SIZE / 4; i++)
		iowrite32(command[i], registers + BLOCK + 4 * i);
	iowrite32(DOORBELL_BLOCK, registers + DOORBELL);
	return copy_to_user(block, command, sizeof(command)) ? -EFAULT : 0;
}

/* Waits for the end of a command, and fills in the answer. */
static int probe_sva_finish(void __user *block)
{
	u32 answer[ANSWER_SIZE / 4], status;
	int i, error;

	error = read_poll_timeout(ioread32, status, !(status & 1), 50, PATIENCE, false, registers + STATUS);
	if (error) {
		iowrite32(DOORBELL_STOP, registers + DOORBELL);
		return error;
	}
	for (i = 0; i < ANSWER_SIZE / 4; i++)
		answer[i] = ioread32(registers + BLOCK + COMMAND_SIZE + 4 * i);
	return copy_to_user(block + COMMAND_SIZE, answer, sizeof(answer)) ? -EFAULT : 0;
}

static long probe_sva_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	void __user *block = (void __user *)argument;
	int error;

	mutex_lock(&commands);
	switch (request) {
	case PROBE_SVA_RUN:
		error = probe_sva_start(file, block);
		if (!error)
			error = probe_sva_finish(block);
		break;
	case PROBE_SVA_START:
		error = probe_sva_start(file, block);
		break;
	case PROBE_SVA_FINISH:
		error = probe_sva_finish(block);
		break;
	default:
		error = -ENOTTY;
	}
	mutex_unlock(&commands);
	return error;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = probe_sva_open,
	.release = probe_sva_release,
	.unlocked_ioctl = probe_sva_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "probe_sva",
	.fops = &operations,
};

static int probe_sva_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int error = probe ? -EBUSY : pcim_enable_device(pdev);

	if (error)
		return error;
	registers = pcim_iomap(pdev, 0, 0);
	if (!registers)
		return -ENOMEM;
	pci_set_master(pdev);
	probe = pdev;
	return misc_register(&device);
}

static void probe_sva_remove(struct pci_dev *pdev)
{
	misc_deregister(&device);
	probe = NULL;
}

static const struct pci_device_id ids[] = {
	{ PCI_DEVICE(0x1234, 0x50b0) },
	{}
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver probe_sva_driver = {
	.name = "probe_sva",
	.id_table = ids,
	.probe = probe_sva_probe,
	.remove = probe_sva_remove,
};
module_pci_driver(probe_sva_driver);

MODULE_DESCRIPTION("Shared virtual addressing with the probe of Portcullis");
MODULE_LICENSE("GPL");
