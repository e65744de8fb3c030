// PCIInventory
