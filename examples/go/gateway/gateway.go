// Package gateway opens a connection to one's own organisation's gateway, over mutual TLS.
package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Dial reads where to, and as whom, from the environment.
func Dial() (*grpc.ClientConn, error) {
	pair, err := tls.LoadX509KeyPair(os.Getenv("FEDGATE_CERT"), os.Getenv("FEDGATE_KEY"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(os.Getenv("FEDGATE_CA"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", os.Getenv("FEDGATE_CA"))
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		// The gateway is verified by the name in its certificate, whatever address it is dialled at.
		ServerName: os.Getenv("FEDGATE_SERVER_NAME"),
		MinVersion: tls.VersionTLS13,
	}
	return grpc.NewClient(os.Getenv("FEDGATE_ADDRESS"), grpc.WithTransportCredentials(credentials.NewTLS(config)))
}
