package store

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/resnet-operator/resnet-operator/api/contract"
	v1 "github.com/resnet-operator/resnet-operator/api/v1"
	"github.com/resnet-operator/resnet-operator/trainer/exit"
)

// The variables that credentials.EnvAWS reads. In a pod they are the keys of a Secret.
var (
	accessKeyNames = []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"}
	secretKeyNames = []string{"AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"}
	tokenNames     = []string{"AWS_SESSION_TOKEN"}
)

// credentials are those of the account, or those that a pod would use.
func (a Account) credentials(spec v1.S3Spec) (*credentials.Credentials, error) {
	if a.AccessKeyID == "" {
		return credentialChain(spec)
	}
	for name, value := range map[string]string{accessKeyNames[0]: a.AccessKeyID, secretKeyNames[0]: a.SecretAccessKey,
		tokenNames[0]: a.SessionToken} {
		if what := wrongCharacter(value); what != "" {
			return nil, exit.Errorf(contract.ExitConfig, "%s %s, which cannot be right", name, what)
		}
	}
	return credentials.NewStaticV4(a.AccessKeyID, a.SecretAccessKey, a.SessionToken), nil
}

// credentialChain looks at the environment, ~/.aws/credentials, and then asks the cloud (IRSA, ECS, EC2). The EC2
// metadata service is left out for servers other than AWS: without an answer it would hold up every request.
func credentialChain(spec v1.S3Spec) (*credentials.Credentials, error) {
	if err := checkEnvironment(); err != nil {
		return nil, err
	}
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	asksCloud := func(name string) bool { return os.Getenv(name) != "" }
	if spec.Endpoint == "" || slices.ContainsFunc([]string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	}, asksCloud) {
		chain = append(chain, &credentials.IAM{Region: spec.Region, Client: &http.Client{Timeout: 5 * time.Second}})
	}
	return credentials.NewChainCredentials(chain), nil
}

// checkEnvironment refuses credentials that no server can have given out. A newline at the end is not cut off: the AWS
// CLI and the SDKs of AWS do not either, so that a Secret that works here works with them too.
func checkEnvironment() error {
	const where = "in a pod it is that key of the Secret spec.storage.s3.credentialsSecret"
	for _, name := range slices.Concat(accessKeyNames, secretKeyNames, tokenNames) {
		if what := wrongCharacter(os.Getenv(name)); what != "" {
			return exit.Errorf(contract.ExitConfig, "%s %s, which cannot be right; %s: make it by kubectl create secret generic --from-literal, or by printf, not echo, before base64", name, what, where)
		}
	}
	access, secret := set(accessKeyNames), set(secretKeyNames)
	switch {
	case access != "" && secret == "":
		return exit.Errorf(contract.ExitConfig, "%s is set, but %s is not; %s", access, secretKeyNames[0], where)
	case access == "" && secret != "":
		return exit.Errorf(contract.ExitConfig, "%s is set, but %s is not; %s", secret, accessKeyNames[0], where)
	}
	return nil
}

// set is the first of these variables that has a value, "" if none has.
func set(names []string) string {
	for _, name := range names {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// wrongCharacter says what a text holds that is no printable ASCII, or a space; "" if it holds nothing else. It does not
// repeat the text.
func wrongCharacter(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	switch {
	case i < 0:
		return ""
	case strings.TrimRight(s, "\r\n") == s[:i]:
		return "ends in a newline"
	case strings.ContainsAny(s, " \t\r\n"):
		return "holds white space"
	}
	return "holds a character that is no printable ASCII"
}
