"""PyTorch's loop for the same work as bench/job.yaml: ResNet18 for 32x32 images, batch 128, AdamW, OneCycleLR,
bf16 autocast, channels_last, data in memory, crop and flip. Prints the images/s of the second epoch."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

images, batch = int(sys.argv[1]), 128
torch.manual_seed(0)
model = torchvision.models.resnet18(num_classes=10)
model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
model.maxpool = nn.Identity()
model = model.to(memory_format=torch.channels_last)
steps = images // batch
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=2 * steps)
data = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
labels = torch.randint(0, 10, (images,))


def augment(x):
    """Crop with padding 4 and flip, a shift for the batch's every image."""
    padded = F.pad(x, (4, 4, 4, 4))
    out = torch.empty_like(x)
    for i in range(len(x)):
        top, left = torch.randint(0, 9, (2,)).tolist()
        view = padded[i, :, top:top + 32, left:left + 32]
        out[i] = view.flip(2) if torch.rand(()) < 0.5 else view
    return out


model.train()
for epoch in range(2):
    start = time.perf_counter()
    for index in torch.randperm(images)[:steps * batch].split(batch):
        x = augment(data[index]).float().div_(255).sub_(0.5).div_(0.25).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), labels[index])
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
print(f"{steps * batch / seconds:.1f}")
