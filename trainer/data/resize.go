package data

// resizeCrop makes a picture as small as still covers height×width and cuts out the centre: with height and width alike it
// is torchvision's Compose([Resize(size), CenterCrop(size)]) on Pillow images. With shorter, the shorter side becomes so
// long before.
func resizeCrop(im raster, shorter, height, width int) raster {
	out := raster{height, width, make([]byte, height*width*3)}
	var k kit
	k.frameOf(out.rgb, im.rgb, im.h, im.w, 3, centred(shorter, height, width)) // no error: the picture is in memory
	return out
}
