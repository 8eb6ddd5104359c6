package cluster

import (
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig writes a kubeconfig file that holds all it needs in itself.
func (a *authority) kubeconfig(file, server string, client pair) error {
	authorityData, err := os.ReadFile(a.file())
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(client.certificate)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(client.key)
	if err != nil {
		return err
	}
	const name = "csi-dm-lab"
	return clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: server, CertificateAuthorityData: authorityData}},
		AuthInfos:      map[string]*api.AuthInfo{name: {ClientCertificateData: certificate, ClientKeyData: key}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, file)
}
