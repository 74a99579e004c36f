/* Copyright 2020, GoTorch Authors */
#pragma once
#include "cgotorch/cuda.h"
#include "cgotorch/device.h"
#include "cgotorch/functional.h"
#include "cgotorch/init.h"
#include "cgotorch/memory.h"
#include "cgotorch/optim.h"
#include "cgotorch/pickle.h"
#include "cgotorch/tensor.h"
#include "cgotorch/torch.h"
