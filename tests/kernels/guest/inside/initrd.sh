#!/bin/busybox sh
# Load what the disks need, put the code under test into the root file system, and go on there.
set -e
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module"
done <<EOF
$(cat /modules/order)
EOF
mount -t ext4 /dev/vda /root
tar -xf /dev/vdb -C /root
exec switch_root /root /usr/bin/python3 -I -u /guest/init.py
